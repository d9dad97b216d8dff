-- What people were told, and for which causes (a JSON list): the same cause again is no news.
CREATE TABLE IF NOT EXISTS monitoring.alarms (
    model VARCHAR(64) NOT NULL,
    model_version INTEGER NOT NULL,
    judged_until DATE NOT NULL,
    causes VARCHAR(4096) NOT NULL,
    message VARCHAR(16384) NOT NULL,
    run_key VARCHAR(64) NOT NULL,
    raised_at TIMESTAMP NOT NULL DEFAULT GETDATE()
)
SORTKEY (model, judged_until)
