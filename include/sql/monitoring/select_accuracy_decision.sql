SELECT
    level,
    causes,
    reason
FROM monitoring.accuracy_decisions
WHERE
    model = :model
    AND model_version = :model_version
    AND period_start = :period_start
    AND period_end = :period_end
