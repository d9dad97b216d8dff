INSERT INTO monitoring.loads (table_name, ds, row_count, run_key)
SELECT
    'labels.{{ model.name }}' AS table_name,
    event_time::DATE AS ds,
    COUNT(*) AS row_count,
    '{{ run_key() }}' AS run_key
FROM stage_labels
GROUP BY event_time::DATE
