{% from "monitoring/_periods.sql.jinja" import of_run -%}
DELETE FROM monitoring.drift_decisions
WHERE
    {{ of_run(model.name, champion("version"), periods()) }}
