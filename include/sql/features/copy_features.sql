COPY stage_features
FROM '{{ manifest("features") }}'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MANIFEST
