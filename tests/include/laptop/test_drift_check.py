"""`make drift`: Polars counts as the core counts; what is said of files that have drifted, and of those that cannot be judged."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from flywheel.core.causes import CONSTANT, MISSING, UNIT
from flywheel.core.profiles import bin_counts, numeric_profile, reference_profile
from laptop.drift_check import UNDATED, CheckError, FileCounter, find_causes, find_files, judge, load_profile, main

ROOT = Path(__file__).resolve().parents[3]
INF, NAN = math.inf, math.nan


def reference(rows: int = 4000, seed: int = 1) -> dict[str, list]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=rows)
    return {
        "x": values.tolist(),
        "whole": rng.poisson(4, rows).tolist(),
        "level": rng.choice(
            ["a", "b", "c'", "Ω", *(f"rare{i}" for i in range(9))], rows, p=[0.4, 0.3, 0.2, 0.082] + [0.002] * 9
        ).tolist(),
        "gate": rng.integers(1, 5, rows).tolist(),
        "same": [7.0] * rows,
        "never": [None] * rows,
    }


@pytest.fixture(scope="module")
def profile() -> dict:
    columns = reference()
    profile = reference_profile(columns, ["level", "gate"], importance={"x": 0.75, "whole": 0.25})
    profile["score"] = numeric_profile([i / 1000 for i in range(1000)])
    return profile


def awkward(rows: int = 3000) -> dict[str, list]:
    """Rows with everything in them that counting can get wrong."""
    columns = reference(rows, seed=2)
    edges = reference_profile({"x": reference()["x"]})["features"]["x"]
    columns["x"][:12] = [NAN, None, INF, -INF, 1e308, -1e308, 1e151, 0.0, -0.0, edges["min"], edges["max"], edges["edges"][4]]
    columns["whole"][:3] = [None, -5, 10**9]
    columns["level"][:6] = [None, "", "unseen", "A", "a ", "rare0"]
    columns["gate"][:2] = [None, 99]
    columns["same"][:3] = [6.0, 8.0, NAN]
    columns["never"][:2] = [1.0, NAN]
    return columns


def write(folder: Path, columns: dict, name: str = "part-0.parquet", schema: dict | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns, schema_overrides={"never": pl.Float64} | (schema or {})).write_parquet(folder / name)
    return str(folder / name)


def test_polars_counts_the_very_bins_of_the_core_and_the_same_moments(tmp_path, profile):
    columns = awkward()
    found = FileCounter(profile, moments=True).count([write(tmp_path, columns)])
    assert found.rows == 3000
    expected = {name: bin_counts(profile["features"][name], values) for name, values in columns.items()}
    assert found.counts == expected
    assert all(sum(counts) == 3000 for counts in found.counts.values())
    finite = np.array([v for v in columns["x"] if v is not None and abs(v) <= 1e150])  # NaN compares as false
    assert found.moments["x"].rows == len(finite)
    assert found.moments["x"].mean == pytest.approx(finite.mean(), rel=1e-12)
    assert found.moments["x"].sd == pytest.approx(finite.std(), rel=1e-12)


@pytest.mark.parametrize(
    ("schema", "convert"),
    [
        ({"x": pl.Float32, "whole": pl.Int64, "gate": pl.Int32}, lambda x: np.float32(x).item()),
        ({"whole": pl.UInt8, "level": pl.Categorical}, lambda x: x),
    ],
)
def test_columns_of_other_types_count_alike(tmp_path, profile, schema, convert):
    columns = reference(500, seed=3)
    found = FileCounter(profile).count([write(tmp_path, columns, schema=schema)])
    columns["x"] = [convert(x) for x in columns["x"]]
    assert found.counts == {name: bin_counts(profile["features"][name], values) for name, values in columns.items()}


def test_truth_values_are_categories_by_their_names(tmp_path):
    profile = reference_profile({"flag": pd.Series([True, False, True])}, ["flag"])
    found = FileCounter(profile).count([write(tmp_path, {"flag": [True, None, False, True]})])
    assert found.counts["flag"] == bin_counts(profile["features"]["flag"], [True, None, False, True]) == [1, 2, 0, 0, 1]


def test_files_go_by_the_day_of_their_folder_and_scores_are_judged_where_there_are_any(tmp_path, profile):
    for day in (1, 2):
        columns = reference(300, seed=day) | ({"score": [0.5] * 300} if day == 2 else {})
        write(tmp_path / f"write=w/ds=2013-07-0{day}", columns)
        write(tmp_path / f"write=w/ds=2013-07-0{day}", columns, "part-1.parquet")
    files = find_files([f"{tmp_path}/**/*.parquet"])
    assert {day: len(paths) for day, paths in files.items()} == {date(2013, 7, 1): 2, date(2013, 7, 2): 2}
    counted = {day: FileCounter(profile).count(paths) for day, paths in files.items()}
    assert [found.rows for found in counted.values()] == [600, 600]
    assert ["score" in found.counts for found in counted.values()] == [False, True]
    assert find_files([f"{tmp_path}/**/*.parquet"], date(2013, 7, 2)) == {date(2013, 7, 2): files[date(2013, 7, 2)]}
    undated = write(tmp_path / "alone", reference(300))
    assert find_files([undated]) == {UNDATED: [undated]}
    assert find_files([undated], date(2013, 7, 9)) == {date(2013, 7, 9): [undated]}
    with pytest.raises(CheckError, match=r"expected Parquet files of ds=2013-07-03, found none"):
        find_files([f"{tmp_path}/write=w/**/*.parquet"], date(2013, 7, 3))


def test_what_has_moved_is_told_with_its_cause_and_its_first_day(tmp_path, profile):
    for day in range(1, 9):
        columns = reference(2000, seed=10 + day)
        if day >= 5:
            columns["whole"] = [10 * value for value in columns["whole"]]
            columns["level"] = ["a"] * 2000
            columns["gate"] = [None if i % 3 == 0 else gate for i, gate in enumerate(columns["gate"])]
        write(tmp_path / f"ds=2013-07-{day:02}", columns)
    files = find_files([f"{tmp_path}/*/*.parquet"])
    days = {day: FileCounter(profile).count(paths) for day, paths in files.items()}
    verdicts = judge(profile, days)
    findings = find_causes(profile, files, days, verdicts)
    assert {name: found.cause for name, found in findings.items()} == {"whole": UNIT, "level": CONSTANT, "gate": MISSING}
    assert {found.since for found in findings.values()} == {date(2013, 7, 5)}
    assert {v.feature for v in verdicts if v.state == "ok"} == {"x", "same", "never"}


def run(*arguments: str) -> subprocess.CompletedProcess:
    path = {"PYTHONPATH": f"{ROOT}/include:{ROOT}/plugins", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "laptop.drift_check", *arguments]
    return subprocess.run(command, env=path, capture_output=True, text=True, check=False)


def test_the_command_tells_drift_by_its_exit_code_and_imports_nothing_heavy(tmp_path, profile):
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    write(tmp_path / "ds=2013-07-01", reference(seed=5))
    moved = reference(seed=6)
    write(tmp_path / "moved", moved | {"x": [value + 1 for value in moved["x"]]})
    fine = run("--profile", f"{tmp_path}/profile.json", "--files", f"{tmp_path}/ds=*/*.parquet")
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout.splitlines()[0] == "4,000 rows of 1 file, 2013-07-01, against 4,000 of training"
    assert fine.stdout.splitlines()[-1] == "None of 6 features has drifted."
    drifted = run("--profile", f"{tmp_path}/profile.json", "--files", f"{tmp_path}/moved/*.parquet")
    assert (drifted.returncode, drifted.stderr) == (1, "")
    first = drifted.stdout.splitlines()[3].split()
    assert first[0] == "x" and first[2:] == ["0.20", "DRIFT", "shift", "75.0%"], "no first day: the file does not say its day"
    assert drifted.stdout.splitlines()[-1] == "1 of 6 features has drifted: x."
    heavy = "import sys; from laptop import drift_check; drift_check.main(sys.argv[1:]); "
    heavy += "print({'pandas', 'pyarrow', 'scipy.stats'} & set(sys.modules))"
    code = [sys.executable, "-c", heavy, "--profile", f"{tmp_path}/profile.json", "--files", f"{tmp_path}/moved/*.parquet"]
    assert subprocess.run(
        code, capture_output=True, text=True, env={"PYTHONPATH": f"{ROOT}/include:{ROOT}/plugins"}, check=True
    ).stdout.endswith("set()\n")


def test_few_rows_are_no_verdict(tmp_path, profile, capsys):
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    file = write(tmp_path, reference(40, seed=7))
    assert main(["--profile", f"{tmp_path}/profile.json", "--files", file]) == 0
    assert "Too few independent rows to judge" in capsys.readouterr().out


def test_what_cannot_be_held_against_each_other_is_refused(tmp_path, profile, capsys):
    stored = tmp_path / "profile.json"
    stored.write_text(json.dumps(profile))
    columns = reference(10)
    good = write(tmp_path, columns, "good.parquet")
    bad = {
        "lacks": write(tmp_path, {name: values for name, values in columns.items() if name != "gate"}, "lacks.parquet"),
        "text": write(tmp_path, columns | {"x": ["1"] * 10}, "text.parquet"),
        "float": write(tmp_path, columns | {"gate": [1.0] * 10}, "float.parquet"),
        "empty": write(
            tmp_path,
            {name: values[:0] for name, values in columns.items()},
            "empty.parquet",
            {"whole": pl.Int64, "x": pl.Float64, "gate": pl.Int64, "level": pl.String},
        ),
        "broken": str(tmp_path / "broken.parquet"),
    }
    Path(bad["broken"]).write_bytes(b"PAR1 no more")
    (tmp_path / "old.json").write_text('{"version": 7, "features": {}}')

    def said(path: str, profile_path: Path = stored) -> str:
        assert main(["--profile", str(profile_path), "--files", path]) == 2
        return capsys.readouterr().err

    assert "expected a column for each feature of the profile, missing are gate; found x, whole" in said(bad["lacks"])
    assert "column x: expected numbers, as the profile has them, found String" in said(bad["text"])
    assert "column gate: expected categories, as the profile has them, found Float64" in said(bad["float"])
    assert "expected rows, found files without any" in said(bad["empty"])
    assert "broken.parquet" in said(bad["broken"])
    assert "expected Parquet files, found none" in said(str(tmp_path / "nothing*.parquet"))
    assert "none.json: expected the profile.json of a model package, found none" in said(good, tmp_path / "none.json")
    assert "expected version 1 or 2, found 7" in said(good, tmp_path / "old.json")
    with pytest.raises(CheckError, match="found something else"):
        load_profile(Path(good))
    with pytest.raises(SystemExit):
        main(["--profile", "", "--files", ""])
    assert "expected PROFILE=<path> FILES=<pattern>" in capsys.readouterr().err
