INSERT INTO features.{{ features().table }} (
    entity_id,
    event_time,
    ds,
    {%- for name in features().columns %}
    {{ name }},
    {%- endfor %}
    checksum
)
SELECT
    entity_id,
    event_time,
    event_time::DATE AS ds,
    {%- for name in features().columns %}
    {{ name }},
    {%- endfor %}
    checksum
FROM stage_features
