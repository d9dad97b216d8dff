DELETE FROM labels.{{ model.name }}
WHERE ds BETWEEN '{{ labelled().start }}' AND '{{ labelled().end }}'
