-- What the job that wrote the files has committed for each of its days.
CREATE TEMP TABLE expected_features (
    ds DATE NOT NULL,
    row_count BIGINT NOT NULL,
    checksum DECIMAL(38, 0)
)
DISTSTYLE ALL
