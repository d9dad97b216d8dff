-- The shape of the Parquet files: Redshift matches columns by position.
CREATE TEMP TABLE stage_features AS
SELECT
    entity_id,
    event_time
    {%- for name in model.features.columns %},
    {{ name }}
    {%- endfor %}
FROM features.{{ model.features.table }}
WHERE 1 = 0
