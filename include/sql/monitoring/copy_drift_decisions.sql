-- TRUNCATECOLUMNS: where very many features have moved, the whole of it is in feature_drift.
COPY monitoring.drift_decisions
FROM 's3://{{ settings.bucket }}/monitoring/{{ model.name }}/{{ run_key() }}/drift_decisions.csv'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
EMPTYASNULL
TRUNCATECOLUMNS
COMPUPDATE OFF
STATUPDATE OFF
