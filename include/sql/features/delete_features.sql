-- Exactly the days that are staged: no other day can be lost.
DELETE FROM features.{{ model.features.table }}
WHERE ds IN (SELECT DISTINCT event_time::DATE FROM stage_features)
