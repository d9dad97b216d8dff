COPY expected_features
FROM '{{ expected("features") }}'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
COMPUPDATE OFF
STATUPDATE OFF
