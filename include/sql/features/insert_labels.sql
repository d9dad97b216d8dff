INSERT INTO labels.{{ model.name }} (entity_id, event_time, ds, label)
SELECT
    entity_id,
    event_time,
    event_time::DATE AS ds,
    label
FROM stage_labels
