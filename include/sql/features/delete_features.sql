-- Exactly the days that were written, those without rows included: no other day can be lost.
DELETE FROM features.{{ features().table }}
WHERE ds IN (SELECT ds FROM expected_features)
