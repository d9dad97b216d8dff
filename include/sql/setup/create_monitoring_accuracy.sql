-- How well the predictions that were really served ranked, once their labels were known, for one period.
CREATE TABLE IF NOT EXISTS monitoring.accuracy (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    scored BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    positives BIGINT NOT NULL,
    auc DOUBLE PRECISION,
    mean_score DOUBLE PRECISION,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
