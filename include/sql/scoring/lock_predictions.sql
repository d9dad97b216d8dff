-- First, and a latch instead of the table: see features/lock_tables.sql.
LOCK TABLE latches.predictions_{{ model.name }}
