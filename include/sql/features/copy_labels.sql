-- COPY ends with an error when it finds no file at all, whatever "mandatory" says (loading-data-files-using-manifest.html): the
-- manifest of a chunk without rows names a file without rows.
COPY stage_labels
FROM '{{ manifest("labels") }}'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MANIFEST
