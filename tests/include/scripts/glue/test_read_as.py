"""The types that contracts accept are those that Spark can read; the rule for wider ones finds each value that does not fit."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from flywheel.core.contract_files import parse_contract
from flywheel.core.contracts import SPARK_TYPES
from flywheel.core.delivery_checks import NARROWER_TYPES, WIDER_TYPES, check_schema

pytestmark = pytest.mark.slow

NOON, MIDNIGHT = datetime(2013, 1, 2, 12, tzinfo=UTC), datetime(2013, 1, 2, tzinfo=UTC)
#: By Spark's type: the same in Arrow, a value that fits what contracts accept the type for, and values that do not.
FILES: dict[str, tuple[pa.DataType, Any, list[Any]]] = {
    "tinyint": (pa.int8(), 7, []),
    "smallint": (pa.int16(), 7, []),
    "int": (pa.int32(), 7, []),
    "bigint": (pa.int64(), 7, [2**31, -(2**31) - 1, 2**40]),
    "float": (pa.float32(), 7.0, []),
    "double": (pa.float64(), 7.0, [7.5, 2.0**31, float("nan"), float("inf"), 1e300]),
    "string": (pa.string(), "a", []),
    "boolean": (pa.bool_(), True, []),
    "date": (pa.date32(), date(2013, 1, 2), []),
    "timestamp": (pa.timestamp("us", "UTC"), MIDNIGHT, [NOON]),
    "timestamp_ntz": (pa.timestamp("us"), MIDNIGHT.replace(tzinfo=None), [NOON.replace(tzinfo=None)]),
}
CASES = [
    *SPARK_TYPES.items(),
    *((promise, found) for table in (NARROWER_TYPES, WIDER_TYPES) for promise, kinds in table.items() for found in kinds),
]


@pytest.mark.parametrize(("promise", "found"), CASES)
def test_spark_reads_each_type_that_a_contract_accepts(spark, tmp_path, promise, found):
    columns = [{"name": "id", "type": "string"}, {"name": "c", "type": promise, "nullable": True}]
    contract = parse_contract(
        {"name": "t", "description": "d", "owner": "o", "cadence": "daily", "first_partition": "2013-01-01"}
        | {"key": ["id"], "columns": columns},
        "t.yaml",
    )
    schema = check_schema(contract, {"id": "string", "c": found}, day=date(2013, 1, 2), file="f")
    assert schema.breaches == []

    kind, fitting, unfit = FILES[found]
    values = [fitting, None, *(unfit if found in WIDER_TYPES.get(promise, ()) else [])]
    pq.write_table(
        pa.table({"i": list(range(len(values))), "c": pa.array(values, kind, from_pandas=False)}), tmp_path / "f.parquet"
    )
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    raw, spark_type = F.col("c"), contract.column("c").spark_type
    fits = raw.cast(spark_type).cast(schema.read_as["c"]).eqNullSafe(raw)
    frame = spark.read.schema(f"i BIGINT, c {schema.read_as['c']}").parquet(str(tmp_path / "f.parquet"))
    rows = frame.select("i", fits.alias("fits"), raw.cast(spark_type).cast("string").alias("shown")).orderBy("i").collect()
    assert [row["fits"] for row in rows] == [True, True, *[False] * (len(values) - 2)]
    shown = {"string": "a", "bool": "true", "date": "2013-01-02", "timestamp": "2013-01-02 00:00:00", "double": "7.0"}
    assert rows[0]["shown"] == shown.get(promise, "7") and rows[1]["shown"] is None
