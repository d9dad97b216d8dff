-- When the days of a window were last loaded, of features and of labels. The times are UTC.
SELECT
    table_name,
    ds,
    MAX(loaded_at) AS loaded_at
FROM monitoring.loads
WHERE
    table_name IN (:features_table, :labels_table)
    AND ds BETWEEN :first_day AND :last_day
GROUP BY
    table_name,
    ds
