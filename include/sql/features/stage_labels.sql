-- The columns of the Parquet files, in their order: Redshift matches them by position.
CREATE TEMP TABLE stage_labels (
    entity_id VARCHAR(128) NOT NULL,
    event_time TIMESTAMP NOT NULL,
    label {{ features().label.sql_type }} NOT NULL,
    checksum BIGINT NOT NULL
)
DISTKEY (entity_id)
