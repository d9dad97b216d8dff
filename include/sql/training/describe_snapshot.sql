-- What the UNLOADs before have taken, seen by the same transaction: how many rows, and which (sums of their checksums).
{%- set parts = [("train", training(), model.features), ("holdout", holdout(), model.features)] %}
{%- if features().version != model.features.version %}
{%- set parts = parts + [("holdout_champion", holdout(), features())] %}
{%- endif %}
{%- for part, days, definition in parts %}
{% if not loop.first %}UNION ALL
{% endif %}SELECT
    '{{ part }}' AS part,
    '{{ days.start }}' AS first_day,
    '{{ days.end }}' AS last_day,
    {{ definition.version }} AS feature_version,
    COUNT(*) AS row_count,
    SUM(f.checksum)::VARCHAR AS features_checksum,
    SUM(l.checksum)::VARCHAR AS labels_checksum
FROM features.{{ definition.table }} AS f
INNER JOIN labels.{{ model.features.table }} AS l ON f.entity_id = l.entity_id AND f.ds = l.ds
WHERE f.ds BETWEEN '{{ days.start }}' AND '{{ days.end }}'
{%- endfor %}
