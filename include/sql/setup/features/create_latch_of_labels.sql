-- Holds no rows: who writes the labels locks it first (see features/lock_tables.sql).
CREATE TABLE IF NOT EXISTS latches.labels_{{ features.table }} (
    held BOOLEAN
)
DISTSTYLE ALL
