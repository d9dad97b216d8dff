-- What has come of the predictions of each day, of all and by segment.
{%- set segments = segments() %}
{%- set label = features().label %}
{%- set kept = ["label"] if label.kind == "class" else ["label", "naive_label"] %}
INSERT INTO monitoring.daily_accuracy (
    {%- if label.kind == "class" %}
    model, model_version, ds, segment, scored, labelled, positives, won, pairs, score_sum, run_key
    {%- else %}
    model, model_version, ds, segment, scored, labelled, score_sum, label_sum, errors, actuals, season_errors, naive_errors,
    percentage_errors, not_zero, run_key
    {%- endif %}
)
WITH served AS (
    SELECT
        p.ds,
        p.score,
        {%- for name in segments %}
        f.{{ name }},
        {%- endfor %}
        l.label
        {%- if label.kind == "number" %},
        {{ "n.label" if label.season_days else "NULL::DOUBLE PRECISION" }} AS naive_label
        {%- endif %}
    FROM predictions.{{ model.name }} AS p
    LEFT JOIN labels.{{ features().table }} AS l ON p.entity_id = l.entity_id AND p.ds = l.ds
    {%- if label.season_days %}
    LEFT JOIN labels.{{ features().table }} AS n ON p.entity_id = n.entity_id AND n.ds = p.ds - {{ label.season_days }}
    {%- endif %}
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
        {{ kept | join(",\n        ") }}
    FROM served
    {%- for name in segments %}
    UNION ALL
    SELECT
        '{{ name }}=' || COALESCE({{ name }}, 'null') AS segment,
        ds,
        score,
        {{ kept | join(",\n        ") }}
    FROM served
    {%- endfor %}
),

{% include "monitoring/_ranks.sql.jinja" if label.kind == "class" else "monitoring/_errors.sql.jinja" %}
