{% from "setup/_encoding.sql.jinja" import encoding -%}
-- Features of one group at one version. Versions live side by side.
-- Redshift enforces no keys, so none is declared: the planner would believe it. Each load checks that a day has an entity once.
-- DISTKEY: features, labels, predictions of an entity meet on one node. SORTKEY: who reads or replaces days reads their blocks.
-- ENCODE: a sort key that is packed tighter than what it leads to makes Redshift read more of the rest. A hash does not pack.
CREATE TABLE IF NOT EXISTS features.{{ features.table }} (
    entity_id VARCHAR(128) NOT NULL ENCODE ZSTD,
    event_time TIMESTAMP NOT NULL ENCODE AZ64,
    ds DATE NOT NULL ENCODE RAW,
    {%- for name, column in features.columns.items() %}
    {{ name }} {{ column.sql_type }} ENCODE {{ encoding(column.sql_type) }},
    {%- endfor %}
    checksum BIGINT NOT NULL ENCODE RAW
)
DISTKEY (entity_id)
SORTKEY (ds)
