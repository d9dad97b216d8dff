DELETE FROM features.{{ model.features.table }}
WHERE ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
