COPY stage_labels
FROM '{{ manifest("labels") }}'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MANIFEST
