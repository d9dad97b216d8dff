-- The columns of the Parquet files, in their order: Redshift matches them by position. Written out, for a CREATE TABLE AS would
-- read the table that is loaded.
CREATE TEMP TABLE stage_features (
    entity_id VARCHAR(128) NOT NULL,
    event_time TIMESTAMP NOT NULL,
    {%- for name, column in features().columns.items() %}
    {{ name }} {{ column.sql_type }},
    {%- endfor %}
    checksum BIGINT NOT NULL
)
DISTKEY (entity_id)
