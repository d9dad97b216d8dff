INSERT INTO monitoring.load_checks (
    table_name, ds, rows_expected, rows_found, keys_found, checksum_expected, checksum_found, passed, run_key
)
SELECT
    table_name,
    ds,
    rows_expected,
    rows_found,
    keys_found,
    checksum_expected,
    checksum_found,
    passed,
    '{{ run_key() }}' AS run_key
FROM checks
