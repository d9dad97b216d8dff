-- What each load found in its table before it committed: one row for each table, day and load. A load whose check does not hold
-- is rolled back, and its rows here with it: its task's error tells what was expected and found (checks/require_checks.sql).
CREATE TABLE IF NOT EXISTS monitoring.load_checks (
    table_name VARCHAR(128) NOT NULL,
    ds DATE NOT NULL,
    rows_expected BIGINT NOT NULL,
    rows_found BIGINT NOT NULL,
    keys_found BIGINT NOT NULL,
    checksum_expected DECIMAL(38, 0) NOT NULL,
    checksum_found DECIMAL(38, 0) NOT NULL,
    passed BOOLEAN NOT NULL,
    run_key VARCHAR(64) NOT NULL,
    checked_at TIMESTAMP NOT NULL DEFAULT GETDATE()
)
SORTKEY (table_name, ds)
