-- Exactly the days that are staged: no other day can be lost.
DELETE FROM labels.{{ model.name }}
WHERE ds IN (SELECT DISTINCT event_time::DATE FROM stage_labels)
