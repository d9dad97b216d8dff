-- The champion's input, in files that are one request each. Parquet holds every bit of the features, text has 15 digits of a
-- double (extra_float_digits), and a model that is asked for rounded numbers may answer otherwise than in its training.
UNLOAD ($$
    SELECT
        entity_id
        {%- for name in features().columns %},
        {{ name }}
        {%- endfor %}
    FROM features.{{ features().table }}
    WHERE ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
$$)
TO 's3://{{ settings.bucket }}/predictions/{{ model.name }}/{{ run_key() }}/input/'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS PARQUET
MAXFILESIZE 16 MB
CLEANPATH
