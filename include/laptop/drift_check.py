"""`make drift PROFILE=p FILES=f`: hold Parquet files on the laptop against the profile of a model's training data.

    python -m laptop.drift_check --profile profile.json --files 'features/*.parquet' [--day 2013-07-01] [--threshold 0.2]

The profile is the ``profile.json`` of a model package. Counts, index, threshold and cause are those of the DAG ``monitor``
(:mod:`flywheel.core.drift`, :mod:`flywheel.core.causes`); only the engine is another: Polars, which streams the files once (and
those of features that have drifted once more). What a drift asks for is not told: the watch-list and the same weeks of last year
are the DAG's. Exit code 1: a feature has drifted.
"""

from __future__ import annotations

import argparse
import glob
import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.core.counting import DayCounts, Moments, add_counts
from flywheel.core.drift import FeatureDrift, compare
from flywheel.core.profiles import SCORE, profile_of, read_profile
from flywheel.core.watch import Finding, decide

if TYPE_CHECKING:
    import polars as pl

_DAY = re.compile(r"ds=(\d{4}-\d{2}-\d{2})")
# As in flywheel.core.counting: the squares of what is beyond would not fit a double.
HUGE = 1e150
#: The day of files that do not say theirs.
UNDATED = date.min


class CheckError(Exception):
    """A profile or files that cannot be held against each other; the message says why."""


def load_profile(path: Path) -> dict[str, Any]:
    """A stored profile.

    :raises CheckError: there is none, or it cannot be read
    """
    try:
        return read_profile(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CheckError(f"{path}: expected the profile.json of a model package, found none: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckError(f"{path}: expected the profile.json of a model package, found something else: {error}") from None


def find_files(patterns: Sequence[str], day: date | None = None) -> dict[date, list[str]]:
    """The files that fit any of the patterns, by the day of their folder ``ds=…``; :data:`UNDATED` without one.

    :param day: only the files of this day; those without a day are taken for it
    :raises CheckError: none fits
    """
    found: dict[date, list[str]] = {}
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)}):
        named = _DAY.search(path)
        of = date.fromisoformat(named[1]) if named else day or UNDATED
        if day is None or of == day:
            found.setdefault(of, []).append(path)
    if not found:
        of_day = f" of ds={day}" if day else ""
        raise CheckError(f"{' '.join(patterns)}: expected Parquet files{of_day}, found none")
    return dict(sorted(found.items()))


class FileCounter:
    """Counts Parquet files into the bins of a profile, each time in one streaming pass.

    What is asked of files with the same columns is written once: with sixty features that takes as long as to read some
    hundred thousand rows.

    :param moments: also sum up the numbers, which takes about as long as half of the counts
    """

    def __init__(self, profile: Mapping[str, Any], *, moments: bool = False):
        self.profile, self.moments = profile, moments
        self._questions: dict[tuple[Any, ...], tuple[dict[str, Any], list[pl.Expr], list[pl.Expr]]] = {}

    def count(self, files: Sequence[str]) -> DayCounts:
        """The rows of some files.

        :raises CheckError: a feature is not in the files or of a type that it cannot have, or a file cannot be read
        """
        import polars as pl

        frame = pl.scan_parquet(list(files), hive_partitioning=False, extra_columns="ignore")
        try:
            schema = frame.collect_schema()
            wanted, columns, sums = self._ask(schema, files[0])
            (row,) = frame.select(columns).select(sums).collect(engine="streaming").to_dicts()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise CheckError(f"{files[0]} and others of its day: {str(error).splitlines()[0]}") from None
        return DayCounts.from_sql({"features": wanted}, row)

    def _ask(self, schema: Mapping[str, pl.DataType], file: str) -> tuple[dict[str, Any], list[pl.Expr], list[pl.Expr]]:
        """The features that are counted, their columns as they are compared, and the sums."""
        import polars as pl

        known = tuple(schema.items())
        if known not in self._questions:
            wanted = dict(self.profile["features"])
            if SCORE not in wanted and self.profile.get(SCORE) is not None and SCORE in schema:
                wanted[SCORE] = self.profile[SCORE]
            missing = [name for name in wanted if name not in schema]
            if missing:
                expected = f"a column for each feature of the profile, missing are {', '.join(missing)}"
                raise CheckError(f"{file}: expected {expected}; found {', '.join(schema) or 'no columns'}")
            columns = [one for name, feature in wanted.items() for one in _prepared(name, feature, schema[name], file)]
            sums = [one for name, feature in wanted.items() for one in _sums(name, feature, self.moments)]
            self._questions[known] = (wanted, columns, [pl.len().alias("rows_counted"), *sums])
        return self._questions[known]


def _prepared(name: str, feature: Mapping[str, Any], kind: pl.DataType, file: str) -> list[pl.Expr]:
    """A feature's column as it is compared: numbers as doubles, levels as their numbers; beside it, whether it is null."""
    import polars as pl

    column = pl.col(name)
    if feature["kind"] == "numeric":
        if not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
            raise CheckError(f"{file}, column {name}: expected numbers, as the profile has them, found {kind}")
        return [column.cast(pl.Float64)]
    if kind.is_integer():
        column = column.cast(pl.String)
    elif kind == pl.Boolean:
        column = pl.when(column).then(pl.lit("True")).when(~column).then(pl.lit("False"))
    elif kind == pl.Null or isinstance(kind, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    elif kind != pl.String:
        raise CheckError(f"{file}, column {name}: expected categories, as the profile has them, found {kind}")
    # One look-up a row; what is no level becomes null. Comparing small numbers then costs next to nothing.
    known = pl.Enum([*feature["levels"], *feature["other"]])
    return [column.cast(known, strict=False).to_physical().alias(name), column.is_null().alias(f"{name}__null")]


def _sums(name: str, feature: Mapping[str, Any], moments: bool) -> list[pl.Expr]:
    """What is summed up of a column, under the aliases of :func:`flywheel.core.counting.sql_counts`."""
    import polars as pl

    column = pl.col(name)
    if feature["kind"] == "category":
        levels = len(feature["levels"])
        conditions = {"null": pl.col(f"{name}__null")} | {f"is_{i}": column == i for i in range(levels)}
        if feature["other"]:
            conditions["other"] = column >= levels
        return [condition.sum().alias(f"{name}__{part}") for part, condition in conditions.items()]
    conditions = {"null": column.is_null(), "nan": column.is_nan()}
    if feature["min"] is not None:
        conditions["below"] = column < feature["min"]
        conditions |= {f"over_{i}": column > edge for i, edge in enumerate((*feature["edges"], feature["max"]))}
    sums = [condition.sum().alias(f"{name}__{part}") for part, condition in conditions.items()]
    if moments and feature.get("mean") is not None:
        finite = column.is_between(-HUGE, HUGE)
        distance = pl.when(finite).then(column - feature["mean"]).otherwise(0.0)
        sums += [finite.sum().alias(f"{name}__finite"), distance.sum().alias(f"{name}__sum")]
        sums.append((distance * distance).sum().alias(f"{name}__squares"))
    return sums


def judge(profile: Mapping[str, Any], days: Mapping[date, DayCounts], threshold: float = 0.2) -> list[FeatureDrift]:
    """A verdict for each feature, most moved first."""
    dated = None if UNDATED in days else len(days)
    return compare(profile, add_counts(found.counts for found in days.values()), threshold=threshold, days=dated)


def find_causes(
    profile: Mapping[str, Any],
    files: Mapping[date, Sequence[str]],
    days: Mapping[date, DayCounts],
    verdicts: Sequence[FeatureDrift],
) -> dict[str, Finding]:
    """By name, why and since when the features have moved that have drifted.

    Moments tell a change of unit. They are taken now, of these features alone: mostly there are none.
    """
    drifted = [one.feature for one in verdicts if one.state == "drift"]
    moments: dict[date, Mapping[str, Moments]] = {}
    for day, paths in files.items():
        features = {name: profile_of(profile, name) for name in drifted if name in days[day].counts}
        if features:
            moments[day] = FileCounter({"features": features}, moments=True).count(paths).moments
    daily = {day: found.counts for day, found in days.items()}
    return {finding.feature: finding for finding in decide(profile, verdicts, daily, moments=moments).findings}


def table(profile: Mapping[str, Any], verdicts: Sequence[FeatureDrift], findings: Mapping[str, Finding]) -> str:
    """A line for each feature, most moved first."""
    lines = [("feature", "PSI", "threshold", "state", "cause", "since", "importance")]
    for one in verdicts:
        finding, feature = findings.get(one.feature), profile_of(profile, one.feature)
        since = finding.since if finding and finding.since != UNDATED else None
        importance = feature["importance"]
        lines.append(
            (
                one.feature,
                f"{one.psi:.4f}",
                f"{one.threshold:.2f}",
                one.state.upper() if one.state == "drift" else one.state,
                finding.cause if finding else "",
                str(since or ""),
                "" if importance is None else f"{importance:.1%}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    right = {1, 2, 6}
    cells = [[cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(line)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in cells)


def report(profile: Mapping[str, Any], files: Mapping[date, Sequence[str]], threshold: float = 0.2) -> bool:
    """Print the verdicts on files by day. Returns whether no feature has drifted.

    :raises CheckError: see :class:`FileCounter`, or the files have no rows
    """
    counter = FileCounter(profile)
    days = {day: counter.count(paths) for day, paths in files.items()}
    rows = sum(found.rows for found in days.values())
    if not rows:
        raise CheckError("expected rows, found files without any")
    verdicts = judge(profile, days, threshold)
    findings = find_causes(profile, files, days, verdicts)
    number, dated = sum(len(paths) for paths in files.values()), sorted(day for day in days if day != UNDATED)
    span = f", {dated[0]} to {dated[-1]}" if len(dated) > 1 else f", {dated[0]}" if dated else ""
    print(f"{rows:,} rows of {number} {'file' if number == 1 else 'files'}{span}, against {profile['rows']:,} of training\n")
    print(table(profile, verdicts, findings))
    drifted = [one.feature for one in verdicts if one.state == "drift"]
    unsure = [one.feature for one in verdicts if one.state == "insufficient"]
    if unsure:
        print(f"\nToo few independent rows to judge {', '.join(unsure)}: chance alone may give more than {threshold:g}.")
    verb = "has" if len(drifted) == 1 else "have"
    told = f"{len(drifted)} of {len(verdicts)} features {verb} drifted: {', '.join(drifted)}." if drifted else ""
    print(f"\n{told or f'None of {len(verdicts)} features has drifted.'}")
    return not drifted


def main(argv: list[str] | None = None) -> int:
    """Command line: see the module's head. Returns the exit code: 1 for drift, 2 for a question that makes no sense."""
    parser = argparse.ArgumentParser(prog="make drift", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--profile", required=True, help="profile.json of a model package")
    parser.add_argument("--files", required=True, nargs="+", help="Parquet files, or patterns of them (**: any folders)")
    parser.add_argument("--day", type=date.fromisoformat, help="only this day's files, as their folders ds=… say")
    parser.add_argument("--threshold", type=float, default=0.2, help="the least PSI that matters (default: 0.2)")
    options = parser.parse_args(argv)
    if not options.profile or not all(options.files):
        parser.error("expected PROFILE=<path> FILES=<pattern>, e.g. make drift PROFILE=profile.json FILES='july/*.parquet'")
    try:
        kept = report(load_profile(Path(options.profile)), find_files(options.files, options.day), options.threshold)
    except CheckError as error:
        print(f"make drift: {error}", file=sys.stderr)
        return 2
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
