DROP TABLE IF EXISTS features.{{ params.group }}_v{{ params.version }}, labels.{{ params.group }}_v{{ params.version }}
