INSERT INTO predictions.{{ model.name }} (entity_id, ds, model_version, score, run_key)
SELECT
    s.entity_id,
    f.ds,
    {{ champion("version") }} AS model_version,
    s.score,
    '{{ run_key() }}' AS run_key
FROM stage_predictions AS s
INNER JOIN features.{{ features().table }} AS f ON s.entity_id = f.entity_id
WHERE f.ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
