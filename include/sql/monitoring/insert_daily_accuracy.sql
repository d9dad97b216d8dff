-- Pairs of a positive and a negative of the same day that the positive wins, by the rank-sum statistic (Mann and Whitney 1947),
-- ties at their mean rank. A prediction without a label is counted, and is in no pair.
{%- set segments = segments() %}
INSERT INTO monitoring.daily_accuracy (
    model, model_version, ds, segment, scored, labelled, positives, won, pairs, score_sum, run_key
)
WITH served AS (
    SELECT
        p.ds,
        p.score,
        {%- for name in segments %}
        f.{{ name }},
        {%- endfor %}
        l.label
    FROM predictions.{{ model.name }} AS p
    LEFT JOIN labels.{{ features().table }} AS l ON p.entity_id = l.entity_id AND p.ds = l.ds
    {%- if segments %}
    LEFT JOIN features.{{ features().table }} AS f ON p.entity_id = f.entity_id AND p.ds = f.ds
    {%- endif %}
    WHERE
        p.model_version = {{ champion("version") }}
        AND p.ds BETWEEN '{{ counted().start }}' AND '{{ counted().end }}'
),

cut AS (
    SELECT
        'all' AS segment,
        ds,
        score,
        label
    FROM served
    {%- for name in segments %}
    UNION ALL
    SELECT
        '{{ name }}=' || COALESCE({{ name }}, 'null') AS segment,
        ds,
        score,
        label
    FROM served
    {%- endfor %}
),

ranked AS (
    SELECT
        segment,
        ds,
        score,
        label,
        CASE
            WHEN label IS NOT NULL THEN
                RANK() OVER (PARTITION BY segment, ds, label IS NULL ORDER BY score)
                + (COUNT(*) OVER (PARTITION BY segment, ds, label IS NULL, score) - 1) / 2.0
        END AS mid_rank
    FROM cut
),

summed AS (
    SELECT
        segment,
        ds,
        COUNT(*) AS scored,
        COUNT(label) AS labelled,
        COALESCE(SUM(label), 0) AS positives,
        SUM(CASE WHEN label = 1 THEN mid_rank ELSE 0 END) AS rank_sum,
        COALESCE(SUM(CASE WHEN label IS NOT NULL THEN score END), 0) AS score_sum
    FROM ranked
    GROUP BY segment, ds
)

SELECT
    '{{ model.name }}' AS model,
    {{ champion("version") }} AS model_version,
    ds,
    segment,
    scored,
    labelled,
    positives,
    rank_sum - positives * (positives + 1) / 2.0 AS won,
    positives::DOUBLE PRECISION * (labelled - positives) AS pairs,
    score_sum,
    '{{ run_key() }}' AS run_key
FROM summed
