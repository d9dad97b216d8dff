"""UNLOAD ('query') TO 's3://...': the query's rows become Parquet or CSV objects, all of them or none."""

from __future__ import annotations

import gzip
import json
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlglot import exp

from localaws import objects
from localaws.redshift.catalog import quote
from localaws.redshift.clauses import Clauses
from localaws.redshift.dialect import parse, placeholders, split
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError
from localaws.redshift.sqltypes import result_type

STAGE = "temp.main.__unload_stage"
SLICES = 2
"""How many slices write in parallel: PARALLEL ON gives as many files, as on the smallest cluster."""
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass
class UnloadOptions:
    """What an UNLOAD asks for. ``max_bytes``: MAXFILESIZE."""

    format: str = "TEXT"
    partition: list[str] = field(default_factory=list)
    include: bool = False
    header: bool = False
    delimiter: str = ","
    null: str = ""
    manifest: bool = False
    verbose: bool = False
    overwrite: bool = False
    clean: bool = False
    parallel: bool = True
    gzip: bool = False
    extension: str | None = None
    max_bytes: int = int(6.2 * 2**30)


@dataclass(frozen=True)
class Part:
    """A file written, the key it goes to below the prefix, and its rows."""

    path: Path
    suffix: str
    rows: int


def unload(session: Session, sql: str) -> Outcome:
    """Run an UNLOAD."""
    clauses = Clauses(sql)
    clauses.expect("UNLOAD", "(")
    query = clauses.string()
    clauses.expect(")")
    clauses.expect("TO")
    uri = clauses.string()
    options = _options(clauses)
    if not uri.startswith("s3://"):
        raise RedshiftError(f"UNLOAD destination is not supported. (Hint: only S3 based unload is allowed, found {uri!r})")
    tree = _query(query)
    existing = _existing(uri, options)
    session.execute(f"DROP TABLE IF EXISTS {STAGE}")
    session.execute(f"CREATE TEMP TABLE {STAGE} AS {session.compile(tree)}")
    rows = session.changed().rows
    folder = session.database.work / f"unload-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        columns = _columns(session, options)
        parts = _write_files(session, columns, options, folder)
        if sum(part.rows for part in parts) != rows:
            raise RedshiftError(f"UNLOAD wrote {sum(part.rows for part in parts)} of {rows} rows; nothing was put into S3")
        _publish(session, uri, parts, columns, options, existing)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    session.execute(f"DROP TABLE {STAGE}")
    return Outcome(rows=rows)


def _options(clauses: Clauses) -> UnloadOptions:
    options, authorized = UnloadOptions(), False
    while not clauses.ended:
        if clauses.credentials():
            authorized = True
            continue
        if clauses.take("FORMAT"):
            clauses.take("AS")
        if clauses.take("PARQUET"):
            options.format = "PARQUET"
        elif clauses.take("CSV"):
            options.format = "CSV"
        elif clauses.take("PARTITION", "BY"):
            options.partition = clauses.names()
            options.include = clauses.take("INCLUDE")
        elif clauses.take("MANIFEST"):
            options.manifest = True
            options.verbose = clauses.take("VERBOSE")
        elif clauses.take("HEADER"):
            options.header = True
        elif clauses.take("DELIMITER"):
            options.delimiter = {"\\t": "\t"}.get(text := clauses.string(), text)
        elif clauses.take("NULL"):
            options.null = clauses.string()
        elif clauses.take("ALLOWOVERWRITE"):
            options.overwrite = True
        elif clauses.take("CLEANPATH"):
            options.clean = True
        elif clauses.take("PARALLEL"):
            options.parallel = clauses.on_off()
        elif clauses.take("GZIP"):
            options.gzip = True
        elif clauses.take("EXTENSION"):
            options.extension = clauses.string()
        elif clauses.take("MAXFILESIZE"):
            options.max_bytes = _size(clauses)
        elif clauses.take("ROWGROUPSIZE"):
            _size(clauses, smallest=32)
        elif clauses.take("REGION") or clauses.take("KMS_KEY_ID"):
            clauses.string()
        elif clauses.take("ENCRYPTED"):
            clauses.take("AUTO")
        elif clauses.word() in ("JSON", "FIXEDWIDTH", "ADDQUOTES", "ESCAPE", "BZIP2", "ZSTD"):
            raise NotServed(f"UNLOAD with {clauses.word()}", "FORMAT AS PARQUET and FORMAT AS CSV are served")
        else:
            raise clauses.error()
    _check_options(options, authorized)
    return options


def _size(clauses: Clauses, smallest: int = 5) -> int:
    number = clauses.number()
    unit = 2**30 if clauses.take("GB") else 2**20
    if unit == 2**20:
        clauses.take("MB")
    if not smallest * 2**20 <= number * unit <= 6.2 * 2**30:
        raise RedshiftError(f"the size must be between {smallest} MB and 6.2 GB")
    return int(number * unit)


def _check_options(options: UnloadOptions, authorized: bool) -> None:
    if not authorized:
        raise RedshiftError("UNLOAD needs an authorization; expected IAM_ROLE default or IAM_ROLE '<arn>'")
    if options.format == "TEXT":
        raise NotServed("UNLOAD of delimited text", "add FORMAT AS CSV (with DELIMITER) or FORMAT AS PARQUET")
    if options.clean and options.overwrite:
        raise RedshiftError("ALLOWOVERWRITE and CLEANPATH cannot be used together")
    if options.format == "PARQUET":
        for given, name in ((options.header, "HEADER"), (options.gzip, "GZIP"), (options.null != "", "NULL AS"),
                            (options.delimiter != ",", "DELIMITER")):  # fmt: skip
            if given:
                raise RedshiftError(f"{name} is not supported for UNLOAD to PARQUET")
    if len(options.delimiter) != 1:
        raise RedshiftError("UNLOAD delimiter must be a single character")


def _query(text: str) -> exp.Expr:
    found = split(text)
    if len(found) != 1 or placeholders(text):
        raise RedshiftError("UNLOAD takes one query, without bind parameters")
    tree = parse(found[0])
    if not isinstance(tree, exp.Query):
        raise RedshiftError("UNLOAD takes a SELECT query")
    if tree.args.get("limit") is not None:
        raise RedshiftError("Limit clause is not supported (put the LIMIT into a subquery)")
    return tree


def _existing(uri: str, options: UnloadOptions) -> list[str]:
    try:
        found = objects.list_objects(uri)
    except objects.NoSuchKey as error:
        raise RedshiftError(
            f"S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket ({error.uri})"
        ) from error
    if found and not (options.overwrite or options.clean):
        raise RedshiftError(
            "Specified unload destination on S3 is not empty. Consider using a different bucket / prefix, manually "
            f"removing the target files in S3, or using the ALLOWOVERWRITE option. ({uri}: {len(found)} objects)"
        )
    return found


def _columns(session: Session, options: UnloadOptions) -> list[tuple[str, str]]:
    rows = session.execute(f"DESCRIBE {STAGE}").fetchall()
    columns = [(row[0], row[1]) for row in rows]
    for _, kind in columns:
        result_type(kind)
    names = [name for name, _ in columns]
    for name in options.partition:
        if name not in names:
            raise RedshiftError(f'column "{name}" in PARTITION BY does not exist in the query')
    if options.partition and not options.include and len(options.partition) == len(columns):
        raise RedshiftError("at least one column must be left besides those of PARTITION BY")
    return columns


def _write_files(session: Session, columns: list[tuple[str, str]], options: UnloadOptions, folder: Path) -> list[Part]:
    partitions: list[tuple[str, str]] = [("", "true")]
    if options.partition:
        texts = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name in options.partition)
        partitions = []
        for values in session.execute(f"SELECT DISTINCT {texts} FROM {STAGE} ORDER BY ALL").fetchall():
            pairs = list(zip(options.partition, values, strict=True))
            path = "".join(f"{name}={_NULL_PARTITION if value is None else _segment(value)}/" for name, value in pairs)
            where = " AND ".join(f"CAST({quote(name)} AS VARCHAR) IS NOT DISTINCT FROM {_text(value)}" for name, value in pairs)
            partitions.append((path, where))
    parts: list[Part] = []
    for path, where in partitions:
        session.execute(f"CREATE OR REPLACE TEMP TABLE __unload_rows AS SELECT *, row_number() OVER () - 1 AS __n "
                        f"FROM {STAGE} WHERE {where}")  # fmt: skip
        total = session.changed().rows
        slices = SLICES if options.parallel else 1
        for number in range(slices):
            parts += _write_slice(session, columns, options, folder, path, number, slices, total)
    session.execute("DROP TABLE IF EXISTS temp.main.__unload_rows")
    return parts


def _segment(value: str) -> str:
    return "".join(char if char.isalnum() or char in "-_.: +" else f"%{ord(char):02X}" for char in value)


def _text(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def _write_slice(
    session: Session, columns: list[tuple[str, str]], options: UnloadOptions, folder: Path,
    path: str, number: int, slices: int, total: int,
) -> list[Part]:  # fmt: skip
    """The files of one slice; a slice that has no rows writes none. Files larger than MAXFILESIZE are split."""
    rows = len(range(number, total, slices))
    if rows == 0:
        return []
    kept = [(name, kind) for name, kind in columns if options.include or name not in options.partition]
    pieces = 1
    while True:
        parts = []
        per_piece = -(-rows // pieces)
        for piece in range(pieces):
            low, high = piece * per_piece, min((piece + 1) * per_piece, rows)
            if low >= high:
                break
            name = f"{number:04d}_part_{piece:02d}" if options.parallel else f"{piece:03d}"
            file = folder / f"{len(list(folder.iterdir()))}-{uuid.uuid4().hex}"
            where = f"__n % {slices} = {number} AND __n // {slices} >= {low} AND __n // {slices} < {high}"
            _write_file(session, kept, options, file, f"FROM temp.main.__unload_rows WHERE {where} ORDER BY __n")
            parts.append(Part(file, path + name + _extension(options), high - low))
        largest = max(part.path.stat().st_size for part in parts)
        if largest <= options.max_bytes or per_piece == 1:
            return parts
        for part in parts:
            part.path.unlink()
        pieces = max(pieces + 1, int(pieces * largest / options.max_bytes * 1.1) + 1)


def _extension(options: UnloadOptions) -> str:
    if options.extension:
        return "." + options.extension.lstrip(".")
    if options.format == "PARQUET":
        return ".parquet"
    return ".gz" if options.gzip else ""


def _write_file(session: Session, columns: list[tuple[str, str]], options: UnloadOptions, file: Path, source: str) -> None:
    if options.format == "PARQUET":
        names = ", ".join(quote(name) for name, _ in columns)
        session.execute(f"COPY (SELECT {names} {source}) TO {_text(str(file))} (FORMAT parquet, COMPRESSION snappy)")
        return
    fields = ", ".join(f"{_csv_field(name, kind)} AS {quote(name)}" for name, kind in columns)
    session.execute(
        f"COPY (SELECT {fields} {source}) TO {_text(str(file))} (FORMAT csv, HEADER {str(options.header).lower()}, "
        f"DELIMITER {_text(options.delimiter)}, QUOTE '\"', ESCAPE '\"', NULLSTR {_text(options.null)})"
    )
    if options.gzip:
        packed = gzip.compress(file.read_bytes(), mtime=0)
        file.write_bytes(packed)


def _csv_field(name: str, kind: str) -> str:
    column = quote(name)
    if kind == "BOOLEAN":
        return f"CASE WHEN {column} THEN 't' WHEN NOT {column} THEN 'f' END"
    if kind in ("DOUBLE", "FLOAT"):
        digits = (15, 17) if kind == "DOUBLE" else (6, 9)
        short = f"printf('%.{digits[0]}g', CAST({column} AS DOUBLE))"
        exact = f"printf('%.{digits[1]}g', CAST({column} AS DOUBLE))"
        return f"CASE WHEN CAST({short} AS {kind}) = {column} THEN {short} ELSE {exact} END"
    return f"CAST({column} AS VARCHAR)"


def _publish(
    session: Session, uri: str, parts: list[Part], columns: list[tuple[str, str]], options: UnloadOptions,
    existing: list[str],
) -> None:  # fmt: skip
    """Put the files into S3. If one cannot be, those that were new are taken away again."""
    session.check_cancelled()
    targets = {uri + part.suffix: part for part in parts}
    bodies: dict[str, bytes | Path] = {address: part.path for address, part in targets.items()}
    if options.manifest:
        bodies[f"{uri}manifest"] = _manifest(targets, columns, options)
    written: list[str] = []
    try:
        for address, body in bodies.items():
            objects.write_object(address, body)
            written.append(address)
    except BaseException:
        objects.delete_objects(address for address in written if address not in existing)
        raise
    if options.clean:
        folders = {address.rpartition("/")[0] + "/" for address in targets}
        objects.delete_objects(
            address for address in existing
            if address not in bodies and (not options.partition or address.rpartition("/")[0] + "/" in folders)
        )  # fmt: skip


def _manifest(targets: dict[str, Part], columns: list[tuple[str, str]], options: UnloadOptions) -> bytes:
    entries: list[dict[str, Any]] = []
    for address, part in targets.items():
        meta = {"content_length": part.path.stat().st_size}
        if options.verbose:
            meta["record_count"] = part.rows
        entries.append({"url": address, "meta": meta})
    manifest: dict[str, object] = {"entries": entries}
    if options.verbose:
        elements = [{"name": name, "type": {"base": result_type(kind).name}} for name, kind in columns]
        manifest["schema"] = {"elements": elements}
        manifest["meta"] = {"content_length": sum(entry["meta"]["content_length"] for entry in entries),
                            "record_count": sum(part.rows for part in targets.values())}  # fmt: skip
        manifest["author"] = {"name": "Amazon Redshift", "version": "1.0.0"}
    return json.dumps(manifest, indent=2).encode()
