-- What came of each day's predictions: of all of them, and by segment. Days add up.
-- won: pairs of a positive and a negative of the day in which the positive has the higher score. AUC within days is won by pairs.
-- Of labels that are numbers: sums of absolute errors (all, of the rows with a naive forecast, of that forecast, over the label).
CREATE TABLE IF NOT EXISTS monitoring.daily_accuracy (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    ds DATE NOT NULL,
    segment VARCHAR(128) NOT NULL,
    scored BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    positives BIGINT DEFAULT 0 NOT NULL,
    won DOUBLE PRECISION DEFAULT 0 NOT NULL,
    pairs DOUBLE PRECISION DEFAULT 0 NOT NULL,
    score_sum DOUBLE PRECISION NOT NULL,
    label_sum DOUBLE PRECISION DEFAULT 0 NOT NULL,
    errors DOUBLE PRECISION DEFAULT 0 NOT NULL,
    actuals DOUBLE PRECISION DEFAULT 0 NOT NULL,
    season_errors DOUBLE PRECISION DEFAULT 0 NOT NULL,
    naive_errors DOUBLE PRECISION DEFAULT 0 NOT NULL,
    percentage_errors DOUBLE PRECISION DEFAULT 0 NOT NULL,
    not_zero BIGINT DEFAULT 0 NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, ds)
