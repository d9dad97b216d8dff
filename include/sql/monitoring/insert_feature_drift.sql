INSERT INTO monitoring.feature_drift (
    model, model_version, period_start, period_end, feature, psi, threshold, row_count, state, run_key
)
VALUES
{%- for m in ti.xcom_pull(task_ids="measure_drift") %}
(
    '{{ model.name }}', {{ champion("version") }}, '{{ m.start }}', '{{ m.end }}', '{{ m.feature }}',
    {{ m.psi }}, {{ m.threshold }}, {{ m.rows }}, '{{ m.state }}', '{{ run_key() }}'
){{ "" if loop.last else "," }}
{%- endfor %}
