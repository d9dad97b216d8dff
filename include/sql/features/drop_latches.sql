-- Before the tables: a load that is under way holds the latches, and is waited for.
DROP TABLE IF EXISTS latches.features_{{ params.group }}_v{{ params.version }}, latches.labels_{{ params.group }}_v{{ params.version }}
