INSERT INTO labels.{{ features().table }} (entity_id, event_time, ds, label, checksum)
SELECT
    entity_id,
    event_time,
    event_time::DATE AS ds,
    label,
    checksum
FROM stage_labels
