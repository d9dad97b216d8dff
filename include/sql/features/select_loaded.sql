-- What the tables hold of each day of a window: of features and of labels. The sums outgrow 64 bits, so they come as text.
SELECT
    'features' AS kind,
    ds,
    COUNT(*) AS row_count,
    SUM(checksum)::VARCHAR(40) AS checksum
FROM features.{{ features().table }}
WHERE ds BETWEEN :first_day AND :last_day
GROUP BY ds
UNION ALL
SELECT
    'labels' AS kind,
    ds,
    COUNT(*) AS row_count,
    SUM(checksum)::VARCHAR(40) AS checksum
FROM labels.{{ features().table }}
WHERE ds BETWEEN :first_day AND :last_day
GROUP BY ds
