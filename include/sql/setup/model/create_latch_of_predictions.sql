-- Holds no rows: who writes the predictions locks it first (see features/lock_tables.sql).
CREATE TABLE IF NOT EXISTS latches.predictions_{{ model.name }} (
    held BOOLEAN
)
DISTSTYLE ALL
