-- AUC by the rank-sum statistic (Mann and Whitney 1947), ties at their mean rank, over the labelled predictions of each period.
INSERT INTO monitoring.accuracy (
    model, model_version, period_start, period_end, scored, labelled, positives, auc, mean_score, run_key
)
WITH periods AS (
    {%- for period in periods() %}
    {%- if not loop.first %}
    UNION ALL
    {%- endif %}
    SELECT
        '{{ period.start }}'::DATE AS period_start,
        '{{ period.end }}'::DATE AS period_end
    {%- endfor %}
),

served AS (
    SELECT
        w.period_start,
        w.period_end,
        p.score,
        l.label
    FROM periods AS w
    INNER JOIN predictions.{{ model.name }} AS p ON p.ds BETWEEN w.period_start AND w.period_end
    LEFT JOIN labels.{{ features().table }} AS l ON p.entity_id = l.entity_id AND p.ds = l.ds
    WHERE p.model_version = {{ champion("version") }}
),

ranked AS (
    SELECT
        period_start,
        period_end,
        score,
        label,
        CASE
            WHEN label IS NOT NULL THEN
                RANK() OVER (PARTITION BY period_start, period_end, label IS NULL ORDER BY score)
                + (COUNT(*) OVER (PARTITION BY period_start, period_end, label IS NULL, score) - 1) / 2.0
        END AS mid_rank
    FROM served
),

summed AS (
    SELECT
        period_start,
        period_end,
        COUNT(*) AS scored,
        COUNT(label) AS labelled,
        COALESCE(SUM(label), 0) AS positives,
        SUM(CASE WHEN label = 1 THEN mid_rank ELSE 0 END) AS rank_sum,
        AVG(score) AS mean_score
    FROM ranked
    GROUP BY period_start, period_end
)

SELECT
    '{{ model.name }}' AS model,
    {{ champion("version") }} AS model_version,
    period_start,
    period_end,
    scored,
    labelled,
    positives,
    (rank_sum - positives * (positives + 1) / 2.0)
    / NULLIF(positives::DOUBLE PRECISION * (labelled - positives), 0) AS auc,
    mean_score,
    '{{ run_key() }}' AS run_key
FROM summed
