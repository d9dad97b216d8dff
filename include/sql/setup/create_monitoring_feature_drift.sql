-- PSI of one feature against the champion's training data, for one period.
CREATE TABLE IF NOT EXISTS monitoring.feature_drift (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    feature VARCHAR(64) NOT NULL,
    psi DOUBLE PRECISION,
    threshold DOUBLE PRECISION,
    row_count BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
