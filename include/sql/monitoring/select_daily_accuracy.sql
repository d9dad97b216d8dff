-- All days that the champion has served, and of its segments those of the period judged.
SELECT
    ds,
    segment,
    scored,
    labelled,
    positives,
    won,
    pairs,
    score_sum,
    label_sum,
    errors,
    actuals,
    season_errors,
    naive_errors,
    percentage_errors,
    not_zero
FROM monitoring.daily_accuracy
WHERE
    model = '{{ model.name }}'
    AND model_version = {{ champion("version") }}
    AND ds <= '{{ judged().end }}'
    AND (segment = 'all' OR ds >= '{{ judged().start }}')
ORDER BY ds, segment
