-- What the two UNLOADs before have taken, seen by the same transaction: how many rows, and which (sums of their checksums).
{%- for part, days in [("train", training()), ("holdout", holdout())] %}
{% if not loop.first %}UNION ALL
{% endif %}SELECT
    '{{ part }}' AS part,
    '{{ days.start }}' AS first_day,
    '{{ days.end }}' AS last_day,
    COUNT(*) AS row_count,
    SUM(f.checksum)::VARCHAR AS features_checksum,
    SUM(l.checksum)::VARCHAR AS labels_checksum
FROM features.{{ model.features.table }} AS f
INNER JOIN labels.{{ model.name }} AS l ON f.entity_id = l.entity_id AND f.ds = l.ds
WHERE f.ds BETWEEN '{{ days.start }}' AND '{{ days.end }}'
{%- endfor %}
