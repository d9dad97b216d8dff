DELETE FROM monitoring.feature_drift
WHERE
    model = '{{ model.name }}'
    AND model_version = {{ champion("version") }}
    AND (
        {%- for period in periods() %}
        {% if not loop.first %}OR {% endif %}(period_start = '{{ period.start }}' AND period_end = '{{ period.end }}')
        {%- endfor %}
    )
