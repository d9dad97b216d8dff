"""EMR Serverless job: count the days of a feature zone into the bins of a reference profile.

    --zones-root s3://bucket  --group flight_delay --version 1 --profile s3://bucket/.../profile.json
    --days 2013-06-24:2013-07-21,2012-06-25:2012-07-22  --output s3://bucket/.../counts.json

Reads the committed partitions of ``features/<group>/v<N>`` within ``--days`` (ranges, both ends inclusive; they may overlap).
Days that have none are left out. Writes one :class:`flywheel.core.counting.DayCounts` a day, as
:func:`flywheel.core.counting.days_to_json` does: the same counts as the SQL of Redshift gives and
:func:`flywheel.core.profiles.bin_counts` in memory. Neither numpy nor Arrow is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from lake.partitions import Partitions
from lake.zones import Zones
from pyspark.sql import DataFrame, SparkSession

from flywheel.core.commits import Commit
from flywheel.core.counting import DayCounts, days_to_json, literal, sql_conditions, sql_counts, sql_moments
from flywheel.core.profiles import read_profile

# Numbers are counted a few columns at a time: Parquet keeps columns apart, so none is read twice. Spark writes Java for an
# aggregate of at most 100 fields (spark.sql.codegen.maxFields) and no more than 64 kB; COUNT becomes half the code that SUM does.
COLUMNS_AT_ONCE = 3
IS_NAN = "isnan({column})"
INTEGERS = ("tinyint", "smallint", "int", "bigint")
TYPES = {"numeric": (*INTEGERS, "float", "double"), "category": ("string", *INTEGERS)}


class CountError(Exception):
    """What is to be counted is not there, or not what the profile expects; the message says which and where."""


def count_days(partitions: Partitions, profile: Mapping[str, Any], days: Sequence[date]) -> dict[date, DayCounts]:
    """The committed ones of these days, counted into the bins of a profile; each column of their files is read once.

    :raises CountError: none is committed, a commit cannot be read, or a feature is not there or of a wrong type
    """
    there = sorted(set(days) & set(partitions.committed_days()))
    if not there:
        raise CountError(f"{partitions.zone}: expected partitions from {min(days)} to {max(days)}, found none")
    commits = partitions.commits(there)
    if lost := [day for day in there if day not in commits]:
        raise CountError(f"{partitions.zone}: expected a commit of ds={lost[0]}, found one that cannot be read; build it again")
    features = profile["features"]
    zeros = dict.fromkeys(_aggregates(features), 0)
    rows: dict[date, dict[str, Any]] = {day: {**zeros, "rows_counted": commits[day].rows} for day in there}
    if filled := [commit for commit in commits.values() if commit.files]:
        _check_columns(partitions.zone, features, filled)
        for day, counted in _counted(partitions.read(filled), features):
            rows[day].update(counted)
    return {day: DayCounts.from_sql({"features": features}, row) for day, row in rows.items()}


def _aggregates(features: Mapping[str, Any]) -> dict[str, str]:
    return sql_counts({"features": features}, moments=True, is_nan=IS_NAN, quote="`")


def _check_columns(zone: str, features: Mapping[str, Any], commits: Sequence[Commit]) -> None:
    for name, feature in features.items():
        kinds = {commit.columns[name]: commit.ds for commit in commits if name in commit.columns}
        if not kinds:
            raise CountError(f"{zone}: expected a column for each feature of the profile, found none named {name}")
        for kind, day in kinds.items():
            allowed = TYPES[feature["kind"]]
            if kind not in allowed:
                expected = f"one of {', '.join(allowed)} for a feature that is {feature['kind']} in the profile"
                raise CountError(f"{zone}, ds={day}, column {name}: expected {expected}, found {kind}")


def _counted(frame: DataFrame, features: Mapping[str, Any]) -> Iterator[tuple[date, dict[str, Any]]]:
    """Days with some of what :func:`flywheel.core.counting.sql_counts` gives of them, by its aliases; together it is all."""
    numeric = [name for name, feature in features.items() if feature["kind"] == "numeric"]
    levels = [name for name, feature in features.items() if feature["kind"] == "category"]
    # As doubles, as the core compares; whole numbers would be compared as decimals, which is slow.
    kinds = {**dict.fromkeys(numeric, "double"), **dict.fromkeys(levels, "string")}
    rows = frame.select("ds", *(frame[f"`{name}`"].cast(kind).alias(name) for name, kind in kinds.items()))

    groups = [numeric[i : i + COLUMNS_AT_ONCE] for i in range(0, len(numeric), COLUMNS_AT_ONCE)]
    aliases, selects = [], []
    for part, group in enumerate(groups):
        found, select = _count_numbers(part, {name: features[name] for name in group})
        aliases.append(found)
        selects.append(select)
    for part, name in enumerate(levels, len(groups)):
        # Grouping takes one look-up a row, comparing as many as there are levels. What the profile does not know is one group.
        known = ", ".join(map(literal, [*features[name]["levels"], *features[name]["other"]])) or "NULL"
        level = f"CASE WHEN `{name}` IN ({known}) THEN `{name}` END"
        found = f"CAST(COUNT(*) AS DOUBLE), CAST(COUNT(`{name}`) AS DOUBLE)"
        selects.append(f"SELECT ds, {part} AS part, {level} AS level, ARRAY({found}) AS found FROM {{rows}} GROUP BY ds, {level}")

    others: dict[tuple[date, str], float] = {}
    for row in frame.sparkSession.sql(" UNION ALL ".join(selects), rows=rows).collect():
        if row["part"] < len(groups):
            yield row["ds"], dict(zip(aliases[row["part"]], row["found"], strict=True))
            continue
        name, level, (count, not_null) = levels[row["part"] - len(groups)], row["level"], row["found"]
        if level is None:
            yield row["ds"], {f"{name}__null": count - not_null}
        elif level in features[name]["levels"]:
            yield row["ds"], {f"{name}__is_{features[name]['levels'].index(level)}": count}
        else:
            others[row["ds"], name] = others.get((row["ds"], name), 0.0) + count
    for (day, name), count in others.items():
        yield day, {f"{name}__other": count}


def _count_numbers(part: int, features: Mapping[str, Any]) -> tuple[list[str], str]:
    """The aliases of what is found of some numeric features, and the statement that finds it, one row a day."""
    found = {}
    for name, feature in features.items():
        conditions = sql_conditions(name, feature, is_nan=IS_NAN, quote="`")
        if feature.get("mean") is not None:
            conditions["finite"], distance = sql_moments(name, feature, quote="`")
            found[f"{name}__sum"] = f"SUM(IF({conditions['finite']}, {distance}, 0e0))"
            found[f"{name}__squares"] = f"SUM(IF({conditions['finite']}, {distance} * {distance}, 0e0))"
        for end, condition in conditions.items():
            found[f"{name}__{end}"] = f"COUNT(CASE WHEN {condition} THEN 1 END)"
    # A double holds counts of rows exactly, up to 2^53 of them.
    values = ", ".join(f"CAST({one} AS DOUBLE)" for one in found.values())
    return list(found), (
        f"SELECT ds, {part} AS part, CAST(NULL AS STRING) AS level, ARRAY({values}) AS found FROM {{rows}} GROUP BY ds"
    )


def parse_days(text: str) -> list[date]:
    """The days of ``start:end,start:end``, each once, in order."""
    days: set[date] = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        if start > end:
            raise argparse.ArgumentTypeError(f"expected start <= end, found {part}")
        days.update(start + timedelta(days=i) for i in range((end - start).days + 1))
    return sorted(days)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The job's arguments (see the module's head)."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--zones-root", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--version", required=True, type=int)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--days", required=True, type=parse_days)
    parser.add_argument("--output", required=True)
    return parser.parse_known_args(arguments)[0]


def main(arguments: Sequence[str]) -> None:
    """Count and write.

    :raises CountError: see :func:`count_days`, or there is no profile
    """
    options = parse_arguments(arguments)
    spark = SparkSession.builder.appName(f"count_features {options.group}").getOrCreate()
    # Files are named one by one, so no job needs to list them.
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", "100000")
    folder, _, name = options.profile.rpartition("/")
    stored = Zones(spark, folder).read_text(name)
    if stored is None:
        raise CountError(f"profile {options.profile}: expected a file, found none")
    partitions = Partitions(Zones(spark, options.zones_root), f"features/{options.group}/v{options.version}")
    days = count_days(partitions, read_profile(json.loads(stored)), options.days)
    folder, _, name = options.output.rpartition("/")
    Zones(spark, folder).write_text(name, days_to_json(days))
    print(f"{partitions.zone}: {len(days)} of {len(options.days)} days, {sum(day.rows for day in days.values())} rows counted")


if __name__ == "__main__":
    main(sys.argv[1:])
