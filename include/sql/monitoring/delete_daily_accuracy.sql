DELETE FROM monitoring.daily_accuracy
WHERE
    model = '{{ model.name }}'
    AND model_version = {{ champion("version") }}
    AND ds BETWEEN '{{ counted().start }}' AND '{{ counted().end }}'
