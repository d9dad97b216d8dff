-- What became of each entity, once it is known.
CREATE TABLE IF NOT EXISTS labels.{{ model.name }} (
    entity_id VARCHAR(128) NOT NULL,
    event_time TIMESTAMP NOT NULL,
    ds DATE NOT NULL,
    label INTEGER NOT NULL
)
DISTKEY (entity_id)
SORTKEY (ds)
