-- The last but one: an INSERT holds the table until the transaction ends, and other loads wait for it.
INSERT INTO monitoring.loads (table_name, ds, row_count, run_key)
SELECT
    table_name,
    ds,
    rows_found AS row_count,
    '{{ run_key() }}' AS run_key
FROM checks
