{% from "monitoring/_periods.sql.jinja" import of_run -%}
DELETE FROM monitoring.feature_drift
WHERE
    {{ of_run(model.name, champion("version"), periods()) }}
