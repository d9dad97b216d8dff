COPY stage_predictions
FROM 's3://{{ settings.bucket }}/predictions/{{ model.name }}/{{ run_key() }}/output/'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
