{% from "monitoring/_copy.sql.jinja" import copy with context -%}
{{ copy("drift_decisions") }}
