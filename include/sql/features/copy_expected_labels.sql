COPY expected_labels
FROM '{{ expected("labels") }}'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
COMPUPDATE OFF
STATUPDATE OFF
