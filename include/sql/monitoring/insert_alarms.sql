INSERT INTO monitoring.alarms (model, model_version, judged_until, causes, message, run_key)
VALUES (:model, :model_version, :judged_until, :causes, :message, '{{ run_key() }}')
