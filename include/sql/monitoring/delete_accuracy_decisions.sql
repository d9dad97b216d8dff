{% from "monitoring/_periods.sql.jinja" import of_run -%}
DELETE FROM monitoring.accuracy_decisions
WHERE
    {{ of_run(model.name, champion("version"), periods()) }}
