{% from "training/_snapshot.sql.jinja" import snapshot -%}
UNLOAD ($$
    {{ snapshot(model.features, model.features, holdout(), naive=true) }}
$$)
TO 's3://{{ settings.bucket }}/snapshots/{{ model.name }}/{{ run_key() }}/holdout/'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MANIFEST VERBOSE
CLEANPATH
