-- Features of one group at one version. Versions live side by side.
CREATE TABLE IF NOT EXISTS features.{{ model.features.table }} (
    entity_id VARCHAR(128) NOT NULL,
    event_time TIMESTAMP NOT NULL,
    ds DATE NOT NULL
    {%- for name, column in model.features.columns.items() %},
    {{ name }} {{ column.sql_type }}
    {%- endfor %}
)
DISTKEY (entity_id)
SORTKEY (ds)
