-- PSI of one feature against the training data of the champion, for one period. The feature "score" are the scores of the model.
-- What has moved has a cause, a level, and a sentence for people.
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
    season_psi DOUBLE PRECISION,
    importance DOUBLE PRECISION,
    cause VARCHAR(16),
    level VARCHAR(16),
    drifted_since DATE,
    sentence VARCHAR(512),
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
