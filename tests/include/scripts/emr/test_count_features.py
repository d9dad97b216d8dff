"""The counting job: the very counts of the core, from the partitions that are committed, into one file."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from count_features import CountError, main, parse_days

from flywheel.core.commits import commit_key
from flywheel.core.counting import DayCounts, days_from_json
from flywheel.core.profiles import bin_counts, reference_profile

pytestmark = pytest.mark.slow

ZONE = "features/flight_delay/v1"
INF, NAN = math.inf, math.nan


def rows(seed: int, count: int) -> dict[str, list]:
    """Features, their edges among the values and everything in them that counting can get wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    columns = {
        "x": x.tolist(),
        "cents": np.round(rng.exponential(0.1, count), 2).tolist(),
        "whole": rng.poisson(4, count).tolist(),
        "level": rng.choice(["a", "b", "it's", "back\\slash", "Ω", *(f"rare{i}" for i in range(30))], count,
                            p=[0.4, 0.3, 0.1, 0.1, 0.04] + [0.002] * 30).tolist(),
        "gate": rng.integers(1, 4, count).tolist(),
        "same": [7.0] * count,
    }  # fmt: skip
    if seed:
        columns["x"][:8] = [NAN, None, INF, -INF, 1e308, 1e151, -0.0, reference()["features"]["x"]["edges"][4]]
        columns["whole"][:3] = [None, -5, 10**6]
        columns["level"][:6] = [None, "", "unseen", "A", "a ", "rare0"]
        columns["gate"][:2] = [None, 99]
        columns["same"][:3] = [6.0, 8.0, NAN]
    return columns


def reference() -> dict:
    return reference_profile(rows(0, 3000), ["level", "gate"])


def frame(columns: dict[str, list]) -> pd.DataFrame:
    kinds = {"whole": "Int64", "gate": "Int32", "level": "object"}
    made = pd.DataFrame({name: pd.Series(values, dtype=kinds.get(name, "object")) for name, values in columns.items()})
    # Nulls and NaN are two things in Parquet; pandas' own doubles would make one of them.
    arrays = {name: pd.array(made[name], dtype=kinds[name]) for name in ("whole", "gate")}
    doubles = {name: pd.arrays.ArrowExtensionArray(_doubles(made[name])) for name in ("x", "cents", "same")}
    return made.assign(entity_id="e", **arrays, **doubles)


def _doubles(values: pd.Series):
    import pyarrow as pa

    return pa.array(values.tolist(), pa.float64(), from_pandas=False)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "profile.json").write_text(json.dumps(reference()))
    return tmp_path


def put(zone, root: Path, day: date, columns: dict[str, list], write: str = "w1") -> None:
    """Commits a day, with the types that its files have."""
    zone(root, ZONE).put(day, frame(columns), write)
    path = root / commit_key(ZONE, day)
    commit = json.loads(path.read_text())
    commit["columns"] |= dict.fromkeys(("x", "cents", "same"), "double") | {"whole": "bigint", "gate": "int"}
    path.write_text(json.dumps(commit))


def count(root: Path, days: str) -> dict[date, DayCounts]:
    place = ["--zones-root", f"file://{root}", "--group", "flight_delay", "--version", "1"]
    main([*place, "--profile", f"file://{root}/profile.json", "--days", days, "--output", f"file://{root}/out/counts.json"])
    return days_from_json((root / "out/counts.json").read_text())


def test_spark_counts_the_very_bins_of_the_core_day_by_day(spark, zone, root):
    given = {date(2013, 7, day): rows(day, 400 + day) for day in (1, 2, 4)}
    for day, columns in given.items():
        put(zone, root, day, columns)
    put(zone, root, date(2013, 7, 2), rows(9, 700), write="w2")  # written anew: the first write is no longer the partition
    given[date(2013, 7, 2)] = rows(9, 700)
    found, profile = count(root, "2013-07-01:2013-07-03,2013-07-02:2013-07-04"), reference()
    assert list(found) == list(given), "a day without a partition is left out"
    for day, columns in given.items():
        expected = {name: bin_counts(profile["features"][name], values) for name, values in columns.items()}
        assert found[day].counts == expected
        assert all(type(n) is int for counts in found[day].counts.values() for n in counts)
        assert found[day].rows == len(columns["x"])
        finite = np.array([v for v in columns["x"] if v is not None and abs(v) <= 1e150])
        assert found[day].moments["x"].rows == len(finite)
        assert found[day].moments["x"].mean == pytest.approx(finite.mean(), rel=1e-12)
        assert found[day].moments["x"].sd == pytest.approx(finite.std(), rel=1e-12)


def test_a_day_without_rows_counts_as_zero(spark, zone, root):
    put(zone, root, date(2013, 7, 1), rows(1, 50))
    put(zone, root, date(2013, 7, 2), rows(2, 50))
    path = root / commit_key(ZONE, date(2013, 7, 2))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": [], "rows": 0}))
    empty = count(root, "2013-07-01:2013-07-02")[date(2013, 7, 2)]
    assert empty.rows == 0 and not any(sum(counts) for counts in empty.counts.values())
    assert empty.counts.keys() == reference()["features"].keys() and empty.moments["x"].rows == 0


def test_what_cannot_be_counted_is_an_error_that_says_which_and_where(spark, zone, root):
    with pytest.raises(CountError, match=f"{ZONE}: expected partitions from 2013-07-01 to 2013-07-02, found none"):
        count(root, "2013-07-01:2013-07-02")
    columns = rows(1, 50)
    put(
        zone,
        root,
        date(2013, 7, 1),
        {name: values for name, values in columns.items() if name != "cents"} | {"cents": [1.0] * 50},
    )
    path = root / commit_key(ZONE, date(2013, 7, 1))
    commit = json.loads(path.read_text())
    path.write_text(json.dumps(commit | {"columns": {n: k for n, k in commit["columns"].items() if n != "gate"}}))
    with pytest.raises(CountError, match="expected a column for each feature of the profile, found none named gate"):
        count(root, "2013-07-01:2013-07-01")
    path.write_text(json.dumps(commit | {"columns": commit["columns"] | {"x": "string"}}))
    with pytest.raises(CountError, match=r"ds=2013-07-01, column x: expected one of tinyint, .*double.* found string"):
        count(root, "2013-07-01:2013-07-01")
    path.write_text("{")
    with pytest.raises(CountError, match="expected a commit of ds=2013-07-01, found one that cannot be read"):
        count(root, "2013-07-01:2013-07-01")
    (root / "profile.json").unlink()
    with pytest.raises(CountError, match=r"profile file://.*/profile\.json: expected a file, found none"):
        count(root, "2013-07-01:2013-07-01")
    assert not (root / "out").exists()


def test_ranges_of_days_may_overlap_and_must_not_end_before_they_start():
    assert parse_days("2013-07-02:2013-07-03,2012-12-31:2013-01-01,2013-07-03:2013-07-03") == [
        date(2012, 12, 31), date(2013, 1, 1), date(2013, 7, 2), date(2013, 7, 3),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="Invalid isoformat"):
        parse_days("2013-07-02")
    with pytest.raises(Exception, match="expected start <= end, found 2013-07-03:2013-07-02"):
        parse_days("2013-07-03:2013-07-02")
