-- Every entity of the window scored once: as many predictions as features, and as many entities as predictions. The checksums
-- are those of the features: of all, and of those that have a prediction. What was scored and is no entity of the window has no
-- day: it counts to the window's first. (Were features loaded again since they were exported, this may fail: export again.)
CREATE TEMP TABLE checks AS
WITH expected AS (
    SELECT
        ds,
        COUNT(*) AS row_count,
        SUM(checksum) AS checksum
    FROM features.{{ features().table }}
    WHERE ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
    GROUP BY ds
),

scored AS (
    SELECT
        p.ds,
        p.entity_id,
        f.checksum
    FROM predictions.{{ model.name }} AS p
    LEFT JOIN features.{{ features().table }} AS f ON p.entity_id = f.entity_id AND p.ds = f.ds
    WHERE
        p.ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
        AND p.model_version = {{ champion("version") }}
    UNION ALL
    SELECT
        '{{ window().start }}'::DATE AS ds,
        s.entity_id,
        f.checksum
    FROM stage_predictions AS s
    LEFT JOIN features.{{ features().table }} AS f
        ON s.entity_id = f.entity_id AND f.ds BETWEEN '{{ window().start }}' AND '{{ window().end }}'
    WHERE f.entity_id IS NULL
),

found AS (
    SELECT
        ds,
        COUNT(*) AS row_count,
        COUNT(DISTINCT entity_id) AS key_count,
        SUM(checksum) AS checksum
    FROM scored
    GROUP BY ds
),

compared AS (
    SELECT
        COALESCE(e.ds, f.ds) AS ds,
        COALESCE(e.row_count, 0) AS rows_expected,
        COALESCE(f.row_count, 0) AS rows_found,
        COALESCE(f.key_count, 0) AS keys_found,
        COALESCE(e.checksum, 0) AS checksum_expected,
        COALESCE(f.checksum, 0) AS checksum_found
    FROM expected AS e
    FULL OUTER JOIN found AS f ON e.ds = f.ds
)

SELECT
    'predictions.{{ model.name }}' AS table_name,
    ds,
    rows_expected,
    rows_found,
    keys_found,
    checksum_expected,
    checksum_found,
    rows_found = rows_expected AND keys_found = rows_found AND checksum_found = checksum_expected AS passed
FROM compared
