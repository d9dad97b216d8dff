{% from "monitoring/_copy.sql.jinja" import copy with context -%}
{{ copy("feature_drift") }}
