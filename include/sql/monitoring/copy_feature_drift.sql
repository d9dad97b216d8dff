COPY monitoring.feature_drift
FROM 's3://{{ settings.bucket }}/monitoring/{{ model.name }}/{{ run_key() }}/feature_drift.csv'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
EMPTYASNULL
COMPUPDATE OFF
STATUPDATE OFF
