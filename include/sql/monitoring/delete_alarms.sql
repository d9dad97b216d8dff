DELETE FROM monitoring.alarms
WHERE
    model = '{{ model.name }}'
    AND run_key = '{{ run_key() }}'
