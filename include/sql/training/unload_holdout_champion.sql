{% from "training/_snapshot.sql.jinja" import snapshot -%}
{% if features().version != model.features.version -%}
-- The champion was trained on another version: it is judged on the same entities with the features that it knows.
UNLOAD ($$
    {{ snapshot(features(), model.features, holdout()) }}
$$)
TO 's3://{{ settings.bucket }}/snapshots/{{ model.name }}/{{ run_key() }}/holdout_champion/'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MANIFEST VERBOSE
CLEANPATH
{%- endif %}
