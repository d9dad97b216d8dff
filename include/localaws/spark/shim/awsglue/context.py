"""``GlueContext``: the Spark session of a Glue script, and its ways to read and write S3."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession

from awsglue.dynamicframe import DynamicFrame

_FORMATS = ("parquet", "json", "csv", "orc")


class GlueContext:
    """Wraps a Spark context as Glue's does; ``spark_session`` is an ordinary session."""

    def __init__(self, spark_context: Any, **_: Any):
        self.spark_context = spark_context
        self.spark_session = SparkSession.builder.getOrCreate()
        self.create_dynamic_frame = _DynamicFrameReader(self)
        self.write_dynamic_frame = _DynamicFrameWriter(self)
        self.create_data_frame = _DataFrameReader(self)
        self.write_data_frame = _DataFrameWriter(self)

    def get_logger(self) -> Any:
        """Give a logger whose lines go to the job's error log."""
        return self.spark_context._jvm.org.apache.log4j.Logger.getLogger("GlueLogger")

    def create_dynamic_frame_from_options(self, *args: Any, **kwargs: Any) -> DynamicFrame:
        """As ``create_dynamic_frame.from_options``."""
        return self.create_dynamic_frame.from_options(*args, **kwargs)

    def write_dynamic_frame_from_options(self, *args: Any, **kwargs: Any) -> DynamicFrame:
        """As ``write_dynamic_frame.from_options``."""
        return self.write_dynamic_frame.from_options(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotImplementedError(f"GlueContext.{name}: not in the local Glue; use spark_session for it")

    def _read(self, connection_type: str, connection_options: dict[str, Any], format: str, options: dict[str, Any]) -> DataFrame:
        _check(connection_type, format)
        paths = connection_options.get("paths") or [connection_options["path"]]
        reader = self.spark_session.read.format(format)
        if connection_options.get("recurse"):
            reader = reader.option("recursiveFileLookup", "true")
        return reader.options(**_spark_options(format, options)).load(paths)

    def _write(
        self,
        frame: DataFrame,
        connection_type: str,
        connection_options: dict[str, Any],
        format: str,
        options: dict[str, Any],
    ) -> None:
        _check(connection_type, format)
        # Glue's sinks add to what is there, and write a header into CSV unless told otherwise.
        writer = frame.write.mode("append").format(format).options(**_spark_options(format, {"withHeader": True} | options))
        if connection_options.get("partitionKeys"):
            writer = writer.partitionBy(*connection_options["partitionKeys"])
        if options.get("compression") or connection_options.get("compression"):
            writer = writer.option("compression", options.get("compression") or connection_options["compression"])
        writer.save(connection_options["path"])


def _check(connection_type: str, format: str) -> None:
    if connection_type != "s3":
        raise NotImplementedError(f"connection_type={connection_type!r}: the local Glue reads and writes 's3' only")
    if format not in _FORMATS:
        raise NotImplementedError(f"format={format!r}: the local Glue knows {', '.join(_FORMATS)}")


def _spark_options(format: str, options: dict[str, Any]) -> dict[str, Any]:
    if format != "csv":
        return {"multiLine": options["multiline"]} if options.get("multiline") else {}
    names = {
        "withHeader": "header",
        "separator": "sep",
        "quoteChar": "quote",
        "escaper": "escape",
        "multiline": "multiLine",
    }
    return {names[key]: value for key, value in options.items() if key in names and value is not None}


class _Part:
    """One of the objects that hang on a context; what it lacks it refuses by name."""

    def __init__(self, context: GlueContext):
        self._context = context

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"{name}: not in the local Glue; use from_options with connection_type='s3'")


class _DynamicFrameReader(_Part):
    def from_options(
        self,
        connection_type: str,
        connection_options: dict[str, Any],
        format: str = "parquet",
        format_options: dict[str, Any] | None = None,
        transformation_ctx: str = "",
        **_: Any,
    ) -> DynamicFrame:
        """Read S3 paths as a dynamic frame."""
        frame = self._context._read(connection_type, connection_options, format, format_options or {})
        return DynamicFrame(frame, self._context, transformation_ctx)


class _DynamicFrameWriter(_Part):
    def from_options(
        self,
        frame: DynamicFrame,
        connection_type: str,
        connection_options: dict[str, Any],
        format: str = "parquet",
        format_options: dict[str, Any] | None = None,
        transformation_ctx: str = "",
        **_: Any,
    ) -> DynamicFrame:
        """Append a dynamic frame to an S3 path."""
        # glueparquet is Glue's own writer of ordinary Parquet.
        format = "parquet" if format == "glueparquet" else format
        self._context._write(frame.toDF(), connection_type, connection_options, format, format_options or {})
        return frame


class _DataFrameReader(_Part):
    def from_options(
        self,
        connection_type: str,
        connection_options: dict[str, Any],
        format: str = "parquet",
        format_options: dict[str, Any] | None = None,
        **_: Any,
    ) -> DataFrame:
        """Read S3 paths as a Spark data frame."""
        return self._context._read(connection_type, connection_options, format, format_options or {})


class _DataFrameWriter(_Part):
    def from_options(
        self,
        frame: DataFrame,
        connection_type: str,
        connection_options: dict[str, Any],
        format: str = "parquet",
        format_options: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append a Spark data frame to an S3 path."""
        self._context._write(frame, connection_type, connection_options, format, format_options or {})
