-- All days that the champion has served, and of its segments those of the period judged.
SELECT
    ds,
    segment,
    scored,
    labelled,
    positives,
    won,
    pairs,
    score_sum
FROM monitoring.daily_accuracy
WHERE
    model = '{{ model.name }}'
    AND model_version = {{ champion("version") }}
    AND ds <= '{{ judged().end }}'
    AND (segment = 'all' OR ds >= '{{ judged().start }}')
ORDER BY ds, segment
