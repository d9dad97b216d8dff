-- How well the predictions that were really served ranked within their days, once their labels were known, for one period: of all
-- rows, and by segment of the period judged. Intervals of 95% by whole days. The baseline is the champion's holdout.
CREATE TABLE IF NOT EXISTS monitoring.accuracy (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    segment VARCHAR(128) NOT NULL,
    scored BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    positives BIGINT NOT NULL,
    auc DOUBLE PRECISION,
    auc_low DOUBLE PRECISION,
    auc_high DOUBLE PRECISION,
    baseline_auc DOUBLE PRECISION,
    calibration DOUBLE PRECISION,
    calibration_low DOUBLE PRECISION,
    calibration_high DOUBLE PRECISION,
    baseline_calibration DOUBLE PRECISION,
    level VARCHAR(16) NOT NULL,
    sentence VARCHAR(1024),
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
