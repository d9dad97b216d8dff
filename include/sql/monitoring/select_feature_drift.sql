SELECT
    feature,
    psi,
    threshold,
    row_count,
    state
FROM monitoring.feature_drift
WHERE
    model = :model
    AND model_version = :model_version
    AND period_start = :period_start
    AND period_end = :period_end
ORDER BY psi DESC
