-- One row for each partition that a load has written: what is in a table, and which run put it there.
CREATE TABLE IF NOT EXISTS monitoring.loads (
    table_name VARCHAR(128) NOT NULL,
    ds DATE NOT NULL,
    row_count BIGINT NOT NULL,
    run_key VARCHAR(64) NOT NULL,
    loaded_at TIMESTAMP NOT NULL DEFAULT GETDATE()
)
SORTKEY (table_name, ds)
