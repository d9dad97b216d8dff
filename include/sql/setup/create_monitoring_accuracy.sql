-- How good the predictions were that were really served, once their labels were known, for one period: of all rows, and by
-- segment of the period judged. Intervals of 95% by whole days. The baseline is the holdout of the champion. Classes are ranked
-- within their days (auc). Numbers have errors over what came (wape), over the naive errors, and over each label but 0 (mape).
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
    wape DOUBLE PRECISION,
    wape_low DOUBLE PRECISION,
    wape_high DOUBLE PRECISION,
    baseline_wape DOUBLE PRECISION,
    naive_ratio DOUBLE PRECISION,
    naive_ratio_low DOUBLE PRECISION,
    naive_ratio_high DOUBLE PRECISION,
    baseline_naive_ratio DOUBLE PRECISION,
    mape DOUBLE PRECISION,
    mape_low DOUBLE PRECISION,
    mape_high DOUBLE PRECISION,
    baseline_mape DOUBLE PRECISION,
    not_zero BIGINT NOT NULL,
    level VARCHAR(16) NOT NULL,
    sentence VARCHAR(1024),
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
