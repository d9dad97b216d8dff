-- The champion's input: an id, then the features in the order of the spec. No header: the lines are cut anywhere.
UNLOAD ($$
    SELECT
        entity_id
        {%- for name in model.features.columns %},
        {{ name }}
        {%- endfor %}
    FROM features.{{ model.features.table }}
    WHERE ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
$$)
TO 's3://{{ settings.bucket }}/predictions/{{ model.name }}/{{ run_key() }}/input/'
IAM_ROLE '{{ settings.redshift_role_arn }}'
FORMAT AS CSV
CLEANPATH
