"""Results as the Data API gives them: typed fields in pages, kept in files so that they outlive the server."""

from __future__ import annotations

import base64
import csv
import datetime
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from localaws.redshift.engine import Outcome
from localaws.redshift.errors import RedshiftError
from localaws.redshift.sqltypes import result_type

PAGE_BYTES = 1 << 20
MAX_BYTES = 500 << 20
"""The largest result, as on AWS."""

Field = dict[str, Any]


def text_of(value: Any) -> str:
    """A value as Redshift writes it: ``2013-01-01 05:00:00``, ``1.50``, ``t``."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text + "+00" if value.tzinfo is not None else text
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.timedelta):
        days, rest = divmod(int(value.total_seconds()), 86400)
        clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        if value.microseconds:
            clock += f".{value.microseconds:06d}".rstrip("0")
        return f"{days} days {clock}" if days else clock
    return str(value)


def field_of(value: Any, kind: str) -> Field:
    """A value as the API's Field; ``kind`` is the column's typeName."""
    if value is None:
        return {"isNull": True}
    if kind in ("int2", "int4", "int8"):
        return {"longValue": int(value)}
    if kind in ("float4", "float8"):
        number = float(value)
        if math.isfinite(number):
            return {"doubleValue": number}
        return {"doubleValue": "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"}
    if kind == "bool":
        return {"booleanValue": bool(value)}
    return {"stringValue": text_of(value)}


def metadata(columns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """ColumnMetadata of a result's columns (name, DuckDB type)."""
    found = []
    for name, duckdb_type in columns:
        kind = result_type(duckdb_type)
        found.append(
            {
                "isCaseSensitive": kind.name in ("varchar", "bpchar", "super"),
                "isCurrency": False,
                "isSigned": kind.signed,
                "label": name,
                "length": 0,
                "name": name,
                "nullable": 1,
                "precision": kind.precision,
                "scale": kind.scale,
                "schemaName": "",
                "tableName": "",
                "typeName": kind.name,
            }
        )
    return found


class ResultStore:
    """The results of all statements, one folder each, one file per page."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _of(self, statement: str) -> Path:
        return self._folder / statement.replace(":", ".")

    def write(self, statement: str, outcome: Outcome) -> None:
        """Take a result's rows and keep them; sets ``outcome.rows`` and ``outcome.size``.

        :raises RedshiftError: the result is larger than the Data API gives.
        """
        if outcome.columns is None or outcome.fetch is None:
            return
        columns = metadata(outcome.columns)
        kinds = [column["typeName"] for column in columns]
        folder = self._of(statement)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rows = size = pages = page_size = 0
        page: list[str] = []

        def flush() -> None:
            nonlocal pages, page_size
            (folder / f"{pages}.json").write_text("[" + ",".join(page) + "]", encoding="utf-8")
            pages, page_size = pages + 1, 0
            page.clear()

        for chunk in outcome.fetch():
            for row in chunk:
                fields = [field_of(value, kind) for value, kind in zip(row, kinds, strict=True)]
                size += sum(0 if value is None else len(str(value)) for value in row)
                record = json.dumps(fields)
                page.append(record)
                page_size += len(record)
                rows += 1
                if page_size >= PAGE_BYTES:
                    flush()
            if size > MAX_BYTES:
                raise RedshiftError(f"Query result is larger than {MAX_BYTES >> 20} MB; use UNLOAD for large results")
        if page or not pages:
            flush()
        head = {"columns": columns, "rows": rows, "pages": pages}
        temporary = folder / "head.tmp"
        temporary.write_text(json.dumps(head), encoding="utf-8")
        os.replace(temporary, folder / "head.json")
        outcome.rows, outcome.size = rows, size

    def read(self, statement: str, page: int) -> tuple[list[dict[str, Any]], list[list[Field]], int, int | None]:
        """(ColumnMetadata, records, rows of the whole result, next page) of one page.

        :raises KeyError: there is no such result, or no such page.
        """
        folder = self._of(statement)
        try:
            head = json.loads((folder / "head.json").read_text(encoding="utf-8"))
            records = json.loads((folder / f"{page}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise KeyError(statement) from None
        following = page + 1 if page + 1 < head["pages"] else None
        return head["columns"], records, head["rows"], following

    def delete(self, statement: str) -> None:
        """Forget a result."""
        shutil.rmtree(self._of(statement), ignore_errors=True)


def page_token(statement: str, page: int) -> str:
    """The NextToken of a page."""
    return base64.urlsafe_b64encode(f"{statement}/{page}".encode()).decode()


def page_of(statement: str, token: str | None) -> int:
    """The page that a NextToken means.

    :raises ValueError: the token is none of this statement's.
    """
    if not token:
        return 0
    found, _, page = base64.urlsafe_b64decode(token.encode()).decode().rpartition("/")
    if found != statement:
        raise ValueError(token)
    return int(page)


def as_csv(records: list[list[Field]]) -> str:
    """Records as the CSV that GetStatementResultV2 gives: no header, NULL is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out)
    for record in records:
        writer.writerow([_csv(field) for field in record])
    return out.getvalue()


def _csv(field: Field) -> Any:
    if "isNull" in field:
        return ""
    if "booleanValue" in field:
        return "true" if field["booleanValue"] else "false"
    return next(iter(field.values()))


Fetch = Callable[[], Iterator[list[tuple]]]
