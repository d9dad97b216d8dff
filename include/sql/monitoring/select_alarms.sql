SELECT
    judged_until,
    causes
FROM monitoring.alarms
WHERE
    model = :model
    AND model_version = :model_version
