-- Holds no rows: who writes the features locks it first (see features/lock_tables.sql).
CREATE TABLE IF NOT EXISTS latches.features_{{ features.table }} (
    held BOOLEAN
)
DISTSTYLE ALL
