{% from "monitoring/_periods.sql.jinja" import of_run -%}
DELETE FROM monitoring.accuracy
WHERE
    {{ of_run(model.name, champion("version"), periods()) }}
