-- What came of each day's predictions: of all of them, and by segment. Days add up.
-- won: pairs of a positive and a negative of the day in which the positive has the higher score. AUC within days is won by pairs.
CREATE TABLE IF NOT EXISTS monitoring.daily_accuracy (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    ds DATE NOT NULL,
    segment VARCHAR(128) NOT NULL,
    scored BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    positives BIGINT NOT NULL,
    won DOUBLE PRECISION NOT NULL,
    pairs DOUBLE PRECISION NOT NULL,
    score_sum DOUBLE PRECISION NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, ds)
