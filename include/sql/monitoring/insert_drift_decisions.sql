INSERT INTO monitoring.drift_decisions (
    model, model_version, period_start, period_end, level, held_by, reason, run_key
)
VALUES
{%- for period in ti.xcom_pull(task_ids="measure_drift") %}
(
    '{{ model.name }}', {{ champion("version") }}, '{{ period.start }}', '{{ period.end }}', '{{ period.level }}',
    '{{ period.held_by | join(", ") }}', '{{ period.reason | replace("'", "''") }}', '{{ run_key() }}'
){{ "" if loop.last else "," }}
{%- endfor %}
