CREATE TEMP TABLE stage_labels AS
SELECT
    entity_id,
    event_time,
    label
FROM labels.{{ model.name }}
WHERE 1 = 0
