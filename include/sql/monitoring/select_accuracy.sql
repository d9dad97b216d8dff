SELECT
    scored,
    labelled,
    positives,
    auc,
    mean_score
FROM monitoring.accuracy
WHERE
    model = :model
    AND model_version = :model_version
    AND period_start = :period_start
    AND period_end = :period_end
