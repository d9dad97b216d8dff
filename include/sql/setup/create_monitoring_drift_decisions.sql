-- What the drift of all features together means for a model in one period: none, note, alert, retrain, or unknown (cannot tell).
-- held_by names broken columns that a retraining has to wait for.
CREATE TABLE IF NOT EXISTS monitoring.drift_decisions (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    level VARCHAR(16) NOT NULL,
    causes VARCHAR(4096),
    held_by VARCHAR(1024),
    reason VARCHAR(4096) NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
