CREATE TEMP TABLE stage_predictions (
    entity_id VARCHAR(128) NOT NULL,
    score DOUBLE PRECISION NOT NULL
)
DISTKEY (entity_id)
