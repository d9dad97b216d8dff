{% from "setup/_encoding.sql.jinja" import encoding -%}
-- What became of each entity, once it is known. Keys and encodings as of the features.
CREATE TABLE IF NOT EXISTS labels.{{ features.table }} (
    entity_id VARCHAR(128) NOT NULL ENCODE ZSTD,
    event_time TIMESTAMP NOT NULL ENCODE AZ64,
    ds DATE NOT NULL ENCODE RAW,
    label {{ features.label.sql_type }} NOT NULL ENCODE {{ encoding(features.label.sql_type) }},
    checksum BIGINT NOT NULL ENCODE RAW
)
DISTKEY (entity_id)
SORTKEY (ds)
