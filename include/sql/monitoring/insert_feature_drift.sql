{% macro text(value) %}{{ "NULL" if value is none else "'" ~ value | replace("'", "''") ~ "'" }}{% endmacro -%}
{% macro number(value) %}{{ "NULL" if value is none else value }}{% endmacro -%}
INSERT INTO monitoring.feature_drift (
    model, model_version, period_start, period_end, feature, psi, threshold, row_count, state, season_psi, importance,
    cause, level, drifted_since, sentence, run_key
)
VALUES
{%- for period in ti.xcom_pull(task_ids="measure_drift") %}
{%- set last_period = loop.last %}
{%- for f in period.features %}
(
    '{{ model.name }}', {{ champion("version") }}, '{{ period.start }}', '{{ period.end }}', '{{ f.feature }}',
    {{ f.psi }}, {{ f.threshold }}, {{ f.rows }}, '{{ f.state }}', {{ number(f.season_psi) }}, {{ number(f.importance) }},
    {{ text(f.cause) }}, {{ text(f.level) }}, {{ text(f.since) }}, {{ text(f.sentence) }}, '{{ run_key() }}'
){{ "" if last_period and loop.last else "," }}
{%- endfor %}
{%- endfor %}
