"""`make contract DATASET=x FILE=y`: hold a file on the laptop against its contract, or draft a contract from it.

    python -m laptop.contract_check --dataset flights --file flights.parquet [--day 2013-03-01] [--out draft.yaml]

A dataset that has a contract is checked by the rules that the ingest job goes by (:mod:`flywheel.core.delivery_checks`): columns
and types, missing values, bounds, allowed values, the key. The number of rows is not judged, which takes the weeks before. Exit
code 1: the file breaks its contract. Without a contract, one is drafted from the file: see :mod:`laptop.contract_draft`.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from flywheel.core.contract_files import load_contracts
from flywheel.core.contracts import Contract
from flywheel.core.delivery_checks import (
    ALLOWED,
    FITS,
    MAX,
    MIN,
    VALUE,
    Broken,
    Note,
    RowCheck,
    Schema,
    Violation,
    check_schema,
    judge_rows,
    partition_name,
    row_checks,
)
from flywheel.core.errors import SpecError
from laptop.contract_draft import draft
from laptop.delivered_file import SQL_TYPES, DeliveredFile, FileError, quoted

CONTRACTS = Path(__file__).resolve().parents[1] / "datasets"
SAMPLES = 3


def check(contract: Contract, file: DeliveredFile, day: date) -> tuple[list[Violation], list[Note]]:
    """What the file breaks of its contract as the partition of ``day``, and what is only worth a note."""
    name = file.path.name
    schema = check_schema(contract, file.columns, day=day, file=name)
    breaches, notes = list(schema.breaches), list(schema.notes)
    if not file.rows:
        breaches.append(Violation(contract.name, partition_name(day), name, "", "rows", "an empty file (no rows)"))
        return breaches, notes
    broken_rows = _count(file, row_checks(contract, schema))
    more_breaches, more_notes = judge_rows(contract, broken_rows, day=day, file=name, rows=file.rows)
    breaches += more_breaches + _repeated_keys(contract, file, schema, day)
    return breaches, notes + more_notes


def _count(file: DeliveredFile, checks: list[RowCheck]) -> list[Broken]:
    """How many rows break each check, in one pass over the file."""
    types = file.sql_types()
    asked = []
    for one in checks:
        broken = _breaks(one, types[one.column.name])
        shown = f"coalesce(CAST({quoted(one.column.name)} AS VARCHAR), 'null')"
        asked.append(f"count(*) FILTER (WHERE {broken})")
        asked.append(f"list_slice(list_sort(list(DISTINCT {shown}) FILTER (WHERE {broken})), 1, {SAMPLES})")
    found = file.ask(f"SELECT {', '.join(asked)} FROM delivery")[0] if asked else ()
    return [Broken(one, found[2 * i], tuple(found[2 * i + 1] or ())) for i, one in enumerate(checks)]


def _breaks(check: RowCheck, type_in_file: str) -> str:
    """The condition in SQL under which a row breaks a check."""
    column, raw = check.column, quoted(check.column.name)
    value = f"TRY_CAST({raw} AS {SQL_TYPES[column.type]})"
    return {
        FITS: f"{raw} IS NOT NULL AND TRY_CAST({value} AS {type_in_file}) IS DISTINCT FROM {raw}",
        VALUE: f"{raw} IS NULL",
        MIN: f"{value} < {column.min}",
        MAX: f"{value} > {column.max}",
        ALLOWED: f"{value} NOT IN ({', '.join(quoted(text, True) for text in column.allowed)})",
    }[check.kind]


def _repeated_keys(contract: Contract, file: DeliveredFile, schema: Schema, day: date) -> list[Violation]:
    if not set(contract.key) <= set(schema.read_as):
        return []
    key = ", ".join(quoted(name) for name in contract.key)
    repeated = f"SELECT {key}, count(*) AS n FROM delivery GROUP BY {key} HAVING count(*) > 1"
    number = file.ask(f"SELECT count(*) FROM ({repeated})")[0][0]
    if not number:
        return []
    examples = file.ask(f"{repeated} ORDER BY n DESC, {key} LIMIT {SAMPLES}")
    samples = tuple(" ".join(f"{name}={value}" for name, value in zip(contract.key, row, strict=False)) for row in examples)
    where = (contract.name, partition_name(day), file.path.name, ", ".join(contract.key))
    return [Violation(*where, "each key once", f"{number} keys more than once", samples)]


def table(contract: Contract, file: DeliveredFile, breaches: list[Violation], notes: list[Note]) -> str:
    """A line for each column of the contract and of the file: what is promised, what is there, and how it stands."""
    names = [*(column.name for column in contract.columns), *(name for name in file.columns if name not in _names(contract))]
    lines: list[tuple[str, ...]] = [("column", "promised", "in the file", "nulls", "least", "greatest", "")]
    for name in names:
        promised = contract.column(name).spark_type if name in _names(contract) else "-"
        if name in file.columns:
            column = quoted(name)
            shown = column
            if file.path.suffix != ".parquet" and promised != "-" and file.columns[name] != "string":
                shown = f"CAST({column} AS {SQL_TYPES[contract.column(name).type]})"
            counted = file.ask(f"SELECT count(*) - count({column}), min({shown}), max({shown}) FROM delivery")[0]
            numbers = [str(counted[0]), *("" if value is None else str(value)[:20] for value in counted[1:])]
        else:
            numbers = ["", "", ""]
        verdict = "ok"
        if any(name in violation.column.split(", ") for violation in breaches):
            verdict = "BREACH"
        elif any(note.column == name for note in notes):
            verdict = "note"
        lines.append((name, promised, file.columns.get(name, "absent"), *numbers, verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _names(contract: Contract) -> set[str]:
    return {column.name for column in contract.columns}


def _day(contract: Contract | None, path: Path) -> date:
    """The day that a file is for when nobody says: as its folder ``ds=…`` has it, else today, or the source's last day."""
    found = re.search(r"ds=(\d{4}-\d{2}-\d{2})", str(path))
    if found:
        return date.fromisoformat(found[1])
    today = datetime.now(UTC).date()
    return min(today, contract.last_partition) if contract and contract.last_partition else today


def report(contract: Contract, file: DeliveredFile, day: date) -> bool:
    """Print the verdict on a file. Returns whether it keeps its contract."""
    breaches, notes = check(contract, file, day)
    promised = f"the contract {contract.name} ({contract.version})"
    print(f"{file.path}: {file.rows} rows, held against {promised} as {partition_name(day)}\n")
    print(table(contract, file, breaches, notes))
    for title, found in (("breach", breaches), ("note", notes)):
        for one in found:
            column = f"{one.column}: " if one.column else ""
            print(f"\n{title}: {column}{_sentence(one)}", end="")
    print("\n")
    if file.path.suffix != ".parquet":
        print("A CSV file has no types, so its values were taken for what the contract promises. What lands has to be Parquet.")
    if contract.volume is not None:
        print("Whether the number of rows is a usual one is judged at ingestion, which knows the weeks before.")
    if breaches:
        print(f"The file breaks its contract: {len(breaches)} {'breach' if len(breaches) == 1 else 'breaches'}.")
        return False
    print(f"The file keeps its contract{f', with {len(notes)} to note' if notes else ''}.")
    return True


def _sentence(one: Violation | Note) -> str:
    if isinstance(one, Note):
        return one.text
    return f"expected {one.expected}, found {one.found}" + (f", e.g. {', '.join(one.samples)}" if one.samples else "")


def main(argv: list[str] | None = None, contracts: Path = CONTRACTS) -> int:
    """Command line: see the module's head. Returns the exit code: 1 for a breach, 2 for a question that makes no sense."""
    parser = argparse.ArgumentParser(prog="make contract", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--dataset", required=True, help="name of the dataset; one without a contract gets a draft")
    parser.add_argument("--file", required=True, type=Path, help="Parquet or CSV file of one partition")
    parser.add_argument("--day", type=date.fromisoformat, help="the partition's day; default: as in the file's path, else today")
    parser.add_argument("--out", type=Path, help="write the draft there; default: print it")
    options = parser.parse_args(argv)
    if not options.dataset or options.file == Path():
        parser.error("expected DATASET=<name> FILE=<path>, e.g. make contract DATASET=flights FILE=flights.parquet")
    try:
        known = load_contracts(contracts)
        contract = known.get(options.dataset)
        file = DeliveredFile(options.file, contract)
        day = options.day or _day(contract, options.file.resolve())
        if contract:
            if options.out:
                raise FileError(f"--out: {options.dataset} has a contract already, {contracts / options.dataset}.yaml")
            return 0 if report(contract, file, day) else 1
        near = difflib.get_close_matches(options.dataset, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        print(f"There is no contract for {options.dataset!r}{hint}; this is a draft of one.", file=sys.stderr)
        text = draft(options.dataset, file, day)
        if options.out is None:
            print(text, end="")
        elif options.out.exists():
            raise FileError(f"{options.out}: expected no such file yet, found one; delete it to draft anew")
        else:
            options.out.write_text(text, encoding="utf-8")
            print(f"{options.out} is written. Replace what says TODO, then put it into {contracts} as {options.dataset}.yaml.")
    except (FileError, SpecError) as error:
        print(f"make contract: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
