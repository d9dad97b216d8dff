-- What each version of the model said about each entity. Keys and encodings as of the features.
CREATE TABLE IF NOT EXISTS predictions.{{ model.name }} (
    entity_id VARCHAR(128) NOT NULL ENCODE ZSTD,
    ds DATE NOT NULL ENCODE RAW,
    model_version INTEGER NOT NULL ENCODE AZ64,
    score DOUBLE PRECISION NOT NULL ENCODE ZSTD,
    run_key VARCHAR(64) NOT NULL ENCODE ZSTD
)
DISTKEY (entity_id)
SORTKEY (ds)
