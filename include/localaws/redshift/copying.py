"""COPY table FROM 's3://...': Parquet by position, CSV and delimited text, from the objects' own files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from sqlglot import exp

from localaws import objects
from localaws.redshift import copy_parquet, copy_text
from localaws.redshift.catalog import Column, TableName
from localaws.redshift.clauses import Clauses
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError

_FLAGS = {"EMPTYASNULL", "BLANKSASNULL", "TRUNCATECOLUMNS", "TRIMBLANKS", "IGNOREBLANKLINES", "ROUNDEC", "GZIP", "NOLOAD",
          "EXPLICIT_IDS"}  # fmt: skip
_REFUSED = {"FIXEDWIDTH", "JSON", "AVRO", "ORC", "SHAPEFILE", "ESCAPE", "REMOVEQUOTES", "ACCEPTINVCHARS", "ACCEPTANYDATE",
            "BZIP2", "LZOP", "ZSTD", "SSH", "ENCRYPTED", "SERIALIZETOJSON", "FILLRECORD"}  # fmt: skip


@dataclass
class CopyOptions:
    """What a COPY asks for."""

    format: str = "TEXT"
    delimiter: str | None = None
    quote: str = '"'
    manifest: bool = False
    header: int = 0
    null: str = "\\N"
    date_format: str | None = None
    time_format: str | None = None
    max_errors: int = 0
    flags: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """An object to load: its address and the file it is."""

    uri: str
    path: str


def copy(session: Session, sql: str) -> Outcome:
    """Run a COPY. All of its rows are loaded, or none."""
    clauses = Clauses(sql)
    clauses.expect("COPY")
    first = clauses.name()
    table = session.find(exp.to_table(clauses.name(), db=first) if clauses.take(".") else exp.to_table(first))
    names = clauses.names() if clauses.word() == "(" else []
    clauses.expect("FROM")
    uri = clauses.string()
    options = _options(clauses)
    if not uri.startswith("s3://"):
        raise NotServed(f"COPY from {uri!r}", "load from 's3://bucket/prefix'")
    columns = _targets(session, table, names)
    sources = _sources(uri, options)
    session.write(table, append=True)
    load = copy_parquet.load if options.format == "PARQUET" else copy_text.load
    rows = load(session, table, columns, sources, options)
    session.copied = rows
    return Outcome(rows=rows)


def _options(clauses: Clauses) -> CopyOptions:
    options, authorized = CopyOptions(), False
    while not clauses.ended:
        if clauses.credentials():
            authorized = True
            continue
        word = clauses.word()
        if clauses.take("FORMAT"):
            clauses.take("AS")
            word = clauses.word()
        if clauses.take("PARQUET"):
            options.format = "PARQUET"
        elif clauses.take("CSV"):
            options.format = "CSV"
            if clauses.take("QUOTE"):
                options.quote = clauses.string()
        elif clauses.take("DELIMITER"):
            options.delimiter = _character(clauses.string())
        elif clauses.take("MANIFEST"):
            options.manifest = True
        elif clauses.take("IGNOREHEADER"):
            options.header = int(clauses.number())
        elif clauses.take("NULL"):
            options.null = clauses.string()
        elif clauses.take("DATEFORMAT"):
            options.date_format = clauses.string()
        elif clauses.take("TIMEFORMAT"):
            options.time_format = clauses.string()
        elif clauses.take("MAXERROR"):
            options.max_errors = int(clauses.number())
        elif clauses.take("ENCODING"):
            clauses.take("AS")
            if clauses.name() != "utf8":
                raise NotServed("COPY with an ENCODING other than UTF8")
        elif clauses.take("REGION"):
            clauses.string()
        elif clauses.take("STATUPDATE") or clauses.take("COMPUPDATE"):
            if not clauses.take("PRESET"):
                clauses.on_off()
        elif clauses.take("COMPROWS") or clauses.take("READRATIO"):
            clauses.number()
        elif word in _FLAGS and clauses.take(word):
            options.flags.add(word)
        elif word in _REFUSED:
            raise NotServed(f"COPY with {word}")
        else:
            raise clauses.error()
        options.given.append(word)
    if not authorized:
        raise RedshiftError("COPY needs an authorization; expected IAM_ROLE default or IAM_ROLE '<arn>'")
    if options.format == "PARQUET":
        for word in options.given:
            if word not in ("PARQUET", "MANIFEST", "STATUPDATE", "REGION", "EXPLICIT_IDS"):
                raise RedshiftError(f"{word} argument is not supported for PARQUET based COPY")
    return options


def _character(text: str) -> str:
    named = {"\\t": "\t", "\\n": "\n"}
    character = named.get(text, text)
    if len(character) != 1:
        raise RedshiftError(f"COPY delimiter must be a single character, found {text!r}")
    return character


def _targets(session: Session, table: TableName, names: list[str]) -> list[Column]:
    columns = session.columns(table)
    if not names:
        return [column for column in columns if not column.identity]
    known = {column.name: column for column in columns}
    for name in names:
        if name not in known:
            raise RedshiftError(f'column "{name}" of relation "{table.name}" does not exist')
        if names.count(name) > 1:
            raise RedshiftError(f'column "{name}" specified more than once')
        if known[name].identity:
            raise NotServed("COPY into an IDENTITY column")
    for column in columns:
        if column.name not in names and not column.nullable and column.default is None:
            raise RedshiftError(f"Cannot insert a NULL value into column {column.name}")
    return [known[name] for name in names]


def _sources(uri: str, options: CopyOptions) -> list[Source]:
    """The objects to load. Objects without a byte (such as _SUCCESS) hold nothing and are passed over."""
    bucket, key = objects.split_uri(uri)
    try:
        addresses = _manifest(uri, options) if options.manifest else objects.list_objects(uri)
    except objects.NoSuchKey as error:
        if "bucket" in str(error):
            raise RedshiftError(
                f"S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket ({bucket})"
            ) from error
        raise RedshiftError(
            f"S3ServiceException:The specified key does not exist,Status 404,Error NoSuchKey ({error})"
        ) from error
    if not addresses:
        raise RedshiftError(f"The specified S3 prefix '{key}' does not exist (in the bucket {bucket})")
    sources = [Source(address, str(objects.object_path(address))) for address in addresses if not address.endswith("/")]
    for source in sources:
        if set(source.path) & set("*?["):
            raise NotServed(f"COPY of the key {source.uri}", "rename it without *, ? and [")
    return [source for source in sources if _size(source)]


def _size(source: Source) -> int:
    with open(source.path, "rb") as file:
        return file.seek(0, 2)


def _manifest(uri: str, options: CopyOptions) -> list[str]:
    body = objects.read_object(uri)
    try:
        entries = json.loads(body)["entries"]
        found = [(entry["url"], bool(entry.get("mandatory")), entry.get("meta", {})) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise RedshiftError(f"the manifest {uri} is not valid JSON with entries that have a url ({error})") from error
    addresses = []
    for url, mandatory, meta in found:
        if options.format == "PARQUET" and "content_length" not in meta:
            raise RedshiftError(f"the manifest {uri} lacks meta.content_length of {url}, which columnar formats need")
        try:
            path = objects.object_path(url)
        except objects.NoSuchKey as error:
            if mandatory:
                raise RedshiftError(f"Problem reading manifest file - S3ServiceException:{error}") from error
            continue
        if options.format == "PARQUET" and path.stat().st_size != meta["content_length"]:
            raise RedshiftError(f"{url} has {path.stat().st_size} bytes, the manifest says {meta['content_length']}")
        addresses.append(url)
    if not addresses:
        # Whatever "mandatory" says, COPY ends when it finds no file (loading-data-files-using-manifest).
        raise RedshiftError(f"the manifest {uri} names no file that is there: {len(found)} entries")
    return addresses
