-- Fails when a check does not hold, and with it the transaction. Redshift has no RAISE outside of procedures. The cast of a text
-- that is no number fails and shows the text: as "context" of error 1207 where compute nodes cast, else as invalid input syntax.
SELECT
    (
        'load checks failed: ' || COUNT(*)::VARCHAR(20) || ', first: ' || MIN(
            table_name || ' ds=' || ds::VARCHAR(10)
            || ' expected rows=' || rows_expected::VARCHAR(20) || ' checksum=' || checksum_expected::VARCHAR(40)
            || ' found rows=' || rows_found::VARCHAR(20) || ' keys=' || keys_found::VARCHAR(20)
            || ' checksum=' || checksum_found::VARCHAR(40)
        )
    )::INTEGER AS failed
FROM checks
WHERE NOT passed
