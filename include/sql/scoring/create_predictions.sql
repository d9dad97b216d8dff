CREATE TABLE IF NOT EXISTS predictions.{{ model.name }} (
    entity_id VARCHAR(128) NOT NULL,
    ds DATE NOT NULL,
    model_version INTEGER NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    run_key VARCHAR(64) NOT NULL
)
DISTKEY (entity_id)
SORTKEY (ds)
