-- What the accuracy of what was served means for a model in the period judged: none, note, alert, retrain, unknown (cannot tell).
-- evidence: that it has become worse than the margin allows. 1000 is an alarm, however often one looks.
CREATE TABLE IF NOT EXISTS monitoring.accuracy_decisions (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    period_start DATE NOT NULL,
    period_end DATE NOT NULL,
    level VARCHAR(16) NOT NULL,
    evidence DOUBLE PRECISION NOT NULL,
    causes VARCHAR(1024),
    reason VARCHAR(4096) NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
SORTKEY (model, period_end)
