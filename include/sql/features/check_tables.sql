{% from "features/_compared.sql.jinja" import compared, found -%}
-- What the tables hold now against what was written to S3. A table of the session's own: were monitoring.load_checks read as well
-- as written here, two loads of different tables could not be put into an order (error 1023).
CREATE TEMP TABLE checks AS
WITH {{ found("features." ~ features().table, "features") }},

{{ found("labels." ~ features().table, "labels") }},

compared AS (
    {{ compared("features." ~ features().table, "features") }}
    UNION ALL
    {{ compared("labels." ~ features().table, "labels") }}
)

SELECT
    table_name,
    ds,
    rows_expected,
    rows_found,
    keys_found,
    checksum_expected,
    checksum_found,
    rows_found = rows_expected AND keys_found = rows_found AND checksum_found = checksum_expected AS passed
FROM compared
