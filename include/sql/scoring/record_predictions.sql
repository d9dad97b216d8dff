INSERT INTO monitoring.loads (table_name, ds, row_count, run_key)
SELECT
    'predictions.{{ model.name }}' AS table_name,
    ds,
    COUNT(*) AS row_count,
    '{{ run_key() }}' AS run_key
FROM predictions.{{ model.name }}
WHERE
    ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
    AND model_version = {{ champion("version") }}
GROUP BY ds
