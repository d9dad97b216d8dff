DELETE FROM predictions.{{ model.name }}
WHERE
    ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
    AND model_version = {{ champion("version") }}
