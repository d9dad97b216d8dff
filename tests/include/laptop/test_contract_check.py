"""`make contract`: what it says of files that keep their contract and of files that do not, and the drafts it makes."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flywheel.core.contract_files import load_contract, load_contracts
from flywheel.core.volume import volume_band
from laptop.contract_check import check, main
from laptop.contract_draft import outwards
from laptop.delivered_file import DeliveredFile, FileError
from laptop.landing import deliveries, parquet_bytes

ROOT = Path(__file__).resolve().parents[3]
DAY = date(2013, 1, 2)
TRIPS = {
    "name": "trips",
    "description": "d",
    "owner": "o",
    "cadence": "daily",
    "first_partition": "2013-01-01",
    "key": ["id"],
    "columns": [
        {"name": "id", "type": "string"},
        {"name": "miles", "type": "double", "nullable": True, "min": 0, "max": 5000, "tolerance": 0.25},
        {"name": "gate", "type": "int", "min": 1},
        {"name": "origin", "type": "string", "allowed": ["EWR", "JFK"]},
        {"name": "on", "type": "date", "required": False},
    ],
}


@pytest.fixture
def contracts(tmp_path) -> Path:
    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / "trips.yaml").write_text(yaml.safe_dump(TRIPS))
    return folder


def columns(**changes) -> dict[str, pa.Array]:
    """Four rows that keep the contract; each change replaces or adds a column, None drops it."""
    content = {
        "id": pa.array(["a", "b", "c", "d"]),
        "miles": pa.array([1.5, None, 20.0, 4999.0]),
        "gate": pa.array([1, 2, 3, 4], pa.int32()),
        "origin": pa.array(["EWR", "JFK", "EWR", "EWR"]),
    }
    return {name: values for name, values in (content | changes).items() if values is not None}


@pytest.fixture
def judged(tmp_path, contracts):
    """The breaches and notes of a file of these columns."""

    def judge(**changes):
        pq.write_table(pa.table(columns(**changes)), tmp_path / "trips.parquet")
        return check(load_contract(contracts / "trips.yaml"), DeliveredFile(tmp_path / "trips.parquet"), DAY)

    return judge


def said(found) -> list[str]:
    return [f"{one.column}: {one.expected}: {one.found}: {', '.join(one.samples)}" for one in found]


def test_a_file_as_promised_keeps_its_contract(judged):
    assert judged() == ([], [])


@pytest.mark.parametrize(
    ("changes", "breach"),
    [
        ({"id": pa.array(["a", "b", "a", "b"])}, "id: each key once: 2 keys more than once: id=a, id=b"),
        ({"id": pa.array(["a", "b", None, "d"])}, "id: a value in each row: 1 of 4 rows otherwise: null"),
        ({"gate": pa.array([1, 0, -5, 4], pa.int32())}, "gate: values of at least 1: 2 of 4 rows otherwise: -5, 0"),
        ({"gate": None}, "gate: a column of type int: no such column: "),
        ({"gate": pa.array(["1", "2", "3", "4"])}, "gate: type int: type string: "),
        ({"gate": pa.array([1, 2, 3, 2**40])}, "gate: values that fit type int: 1 of 4 rows otherwise: 1099511627776"),
        ({"gate": pa.array([1.0, 2.5, 3.0, 4.0])}, "gate: values that fit type int: 1 of 4 rows otherwise: 2.5"),
        ({"gate": pa.array([1.0, float("nan"), 3.0, 4.0])}, "gate: values that fit type int: 1 of 4 rows otherwise: nan"),
        ({"origin": pa.array(["EWR", "LHR", "CDG", "EWR"])}, "origin: one of EWR, JFK: 2 of 4 rows otherwise: CDG, LHR"),
        (
            {"miles": pa.array([-1.0, 9000.0, 1.0, 1.0])},
            "miles: values of at least 0 (all but 25.00% of the rows): 1 of 4 rows otherwise: -1.0",
        ),
        (
            {"on": pa.array([datetime(2013, 1, 2, 7)] * 4, pa.timestamp("us"))},
            "on: values that fit type date: 4 of 4 rows otherwise: 2013-01-02 07:00:00",
        ),
        ({"on": pa.array([datetime(2013, 1, 2)] * 4, pa.timestamp("ns"))}, "on: type date: type timestamp(nanos): "),
    ],
)
def test_each_broken_promise_is_a_breach_with_samples(judged, changes, breach):
    breaches, _ = judged(**changes)
    assert said(breaches)[0] == breach


def test_a_file_without_rows_is_refused(judged):
    empty = {name: values.slice(0, 0) for name, values in columns().items()}
    assert said(judged(**empty)[0]) == [": rows: an empty file (no rows): "]


@pytest.mark.parametrize(
    ("changes", "kind", "column"),
    [
        ({"miles": pa.array([1.0, 9000.0, 1.0, 1.0])}, "tolerated", "miles"),
        ({"gate": pa.array([1, 2, 3, 4], pa.int64())}, "widened", "gate"),
        ({"gate": pa.array([1.0, 2.0, 3.0, 4.0])}, "widened", "gate"),
        ({"on": pa.array([datetime(2013, 1, 2)] * 4, pa.timestamp("us"))}, "widened", "on"),
        ({"on": pa.array([datetime(2013, 1, 2, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC"))}, "widened", "on"),
        ({"pilot": pa.array(["x"] * 4)}, "unknown_column", "pilot"),
    ],
)
def test_what_can_be_borne_is_a_note(judged, changes, kind, column):
    breaches, notes = judged(**changes)
    assert breaches == [] and [(note.kind, note.column) for note in notes] == [(kind, column)]


def test_the_command_says_how_each_column_stands_and_fails_on_a_breach(tmp_path, contracts, capsys):
    path = tmp_path / "trips.parquet"
    pq.write_table(pa.table(columns()), path)
    ask = ["--dataset", "trips", "--file", str(path), "--day", "2013-01-02"]
    assert main(ask, contracts) == 0
    said = capsys.readouterr().out
    assert "4 rows, held against the contract trips" in said and "as ds=2013-01-02" in said
    assert re.search(r"^miles +double +double +1 +1\.5 +4999\.0 +ok$", said, re.MULTILINE)
    assert re.search(r"^on +date +absent +ok$", said, re.MULTILINE)
    assert said.endswith("The file keeps its contract.\n")

    pq.write_table(pa.table(columns(gate=pa.array([0, 0, 1, 1], pa.int32()), pilot=pa.array(["x"] * 4))), path)
    assert main(ask, contracts) == 1
    said = capsys.readouterr().out
    assert re.search(r"^gate +int +int +0 +0 +1 +BREACH$", said, re.MULTILINE)
    assert re.search(r"^pilot +- +string +0 +x +x +note$", said, re.MULTILINE)
    assert "\nbreach: gate: expected values of at least 1, found 2 of 4 rows otherwise, e.g. 0\n" in said
    assert said.endswith("The file breaks its contract: 1 breach.\n")


def test_the_day_is_that_of_the_files_folder(tmp_path, contracts, capsys):
    path = tmp_path / "ds=2013-05-06" / "trips.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table(columns()), path)
    assert main(["--dataset", "trips", "--file", str(path)], contracts) == 0
    said = capsys.readouterr().out
    assert "as ds=2013-05-06" in said
    assert not re.search("^ds ", said, re.MULTILINE), "the folder is no column of the file"
    path.with_suffix(".csv").write_text("id,miles,gate,origin\na,1.5,1,EWR\n")
    assert main(["--dataset", "trips", "--file", str(path.with_suffix(".csv"))], contracts) == 0
    assert not re.search("^ds ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("id,miles,gate,origin\na,1.5,1,EWR\nb,,2,JFK\n", 0, "keeps its contract"),
        ("id,miles,gate,origin\na,1.5,1,EWR\nb,,2.5,JFK\n", 1, "gate: expected type int, found type string"),
        ("id,miles,gate,origin\na,far,1,EWR\n", 1, "miles: expected type double, found type string"),
        ("id,miles,gate,origin\na,1.5,0,EWR\n", 1, "gate: expected values of at least 1, found 1 of 1 rows otherwise, e.g. 0"),
    ],
)
def test_a_csv_file_is_taken_for_what_the_contract_promises(tmp_path, contracts, capsys, text, code, expected):
    path = tmp_path / "trips.csv"
    path.write_text(text)
    assert main(["--dataset", "trips", "--file", str(path)], contracts) == code
    said = capsys.readouterr().out
    assert expected in said and "What lands has to be Parquet" in said


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nothing.parquet", None, "expected a file, found nothing"),
        ("notes.parquet", b"dear diary", "expected a whole Parquet file, found 10 bytes that are not one"),
        ("trips.xlsx", b"PK", "expected a file named .parquet, .csv or .csv.gz, found .xlsx"),
    ],
)
def test_a_file_that_cannot_be_looked_into_is_told(tmp_path, contracts, capsys, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["--dataset", "trips", "--file", str(tmp_path / name)], contracts) == 2
    assert expected in capsys.readouterr().err


def test_without_a_dataset_or_a_file_the_usage_is_told(contracts, capsys):
    for ask in (["--dataset", "", "--file", "x.csv"], ["--dataset", "trips", "--file", ""]):
        with pytest.raises(SystemExit) as ended:
            main(ask, contracts)
        assert ended.value.code == 2
        assert "expected DATASET=<name> FILE=<path>" in capsys.readouterr().err


def test_a_file_that_breaks_off_inside_is_told(tmp_path, contracts, capsys):
    path = tmp_path / "trips.parquet"
    many = 200_000
    pq.write_table(pa.table({"id": [str(i) for i in range(many)], "gate": list(range(many))}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:200_000] = bytes(199_900)
    path.write_bytes(bytes(content))
    assert main(["--dataset", "trips", "--file", str(path)], contracts) == 2
    assert "expected a whole file" in capsys.readouterr().err


def test_an_unknown_dataset_gets_a_draft_that_loads_and_that_its_own_sample_keeps(tmp_path, contracts, capsys):
    rows = 60
    table = pa.table(
        {
            "trip": list(range(1, rows + 1)),
            "leg": pa.array([i % 2 for i in range(rows)], pa.int8()),
            "car": pa.array([None if i == 5 else f"N{i}" for i in range(rows)]),
            "origin": ["EWR", "JFK", "NO"] * 20,
            "delay": [i * 1.07 - 13 for i in range(rows)],
            "seats": [None if i % 3 else float(i) for i in range(rows)],
            "late": [i > 3 for i in range(rows)],
            "left": pa.array([datetime(2013, 1, 2, 3, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
            "price": pa.array([None] * rows, pa.decimal128(10, 2)),
            "Tail Number": ["x"] * rows,
        }
    )
    path = tmp_path / "sample.parquet"
    pq.write_table(table, path)
    out = tmp_path / "rides.yaml"
    assert main(["--dataset", "rides", "--file", str(path), "--day", "2013-01-02", "--out", str(out)], contracts) == 0
    contract, text = load_contract(out), out.read_text()
    assert (contract.name, contract.key, contract.first_partition) == ("rides", ("trip",), DAY)
    assert "a guess" in text and text.count("TODO") > 8
    types = {column.name: (column.type, column.nullable) for column in contract.columns}
    assert types == {
        "trip": ("bigint", False),
        "leg": ("int", False),
        "car": ("string", True),
        "origin": ("string", False),
        "delay": ("double", False),
        "seats": ("double", True),
        "late": ("bool", False),
        "left": ("timestamp", False),
    }
    assert contract.column("origin").allowed == ("EWR", "JFK", "NO") and contract.column("car").allowed == ()
    assert (contract.column("delay").min, contract.column("delay").max) == (-13, 51)
    assert "seats" in text.split("perhaps an int")[0].splitlines()[-1]
    assert "'price' is of type decimal(10,2), which no contract knows" in text
    assert "'Tail Number' cannot be a name" in text
    breaches, notes = check(contract, DeliveredFile(path), DAY)
    assert breaches == [] and {note.column for note in notes} == {"price", "Tail Number"}

    capsys.readouterr()
    assert main(["--dataset", "rides", "--file", str(path), "--out", str(out)], contracts) == 2
    assert "expected no such file yet" in capsys.readouterr().err


def test_a_draft_is_printed_with_a_hint_at_a_name_that_is_near(tmp_path, contracts, capsys):
    path = tmp_path / "trips.csv"
    path.write_text("id,gate\na,1\nb,3000000000\n")
    assert main(["--dataset", "trip", "--file", str(path)], contracts) == 0
    printed = capsys.readouterr()
    assert "did you mean 'trips'" in printed.err
    drafted = yaml.safe_load(printed.out)
    assert [column["type"] for column in drafted["columns"]] == ["string", "bigint"] and drafted["key"] == ["id"]


def test_a_key_of_several_columns_is_found_and_the_lack_of_one_is_told(tmp_path, contracts, capsys):
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n" + "".join(f"{i % 4},{i // 4},z\n" for i in range(16)))
    assert main(["--dataset", "x", "--file", str(path)], contracts) == 0
    assert "key: [a, b]   # TODO a guess" in capsys.readouterr().out
    path.write_text("a,b\n1,1\n1,\n1,1\n")
    assert main(["--dataset", "x", "--file", str(path)], contracts) == 0
    assert re.search(r"^key: \[a\] .*are there duplicates\?$", capsys.readouterr().out, re.MULTILINE)


def test_values_are_listed_only_where_each_is_seen_often(tmp_path, contracts, capsys):
    path = tmp_path / "x.csv"
    path.write_text("i,often,seldom\n" + "".join(f"{i},{'pq'[i % 2]},s{i % 5}\n" for i in range(40)))
    assert main(["--dataset", "x", "--file", str(path)], contracts) == 0
    drafted = {column["name"]: column for column in yaml.safe_load(capsys.readouterr().out)["columns"]}
    assert drafted["often"]["allowed"] == ["p", "q"] and "allowed" not in drafted["seldom"]


def test_nothing_is_drafted_that_would_not_load(tmp_path, contracts, capsys):
    path = tmp_path / "x.csv"
    path.write_text("i\n1\n")
    for dataset, text, expected in [
        ("My Rides", "i\n1\n", "name: expected a name of lower-case letters"),
        ("rides", "i,j\n,1.5\n2,2.5\n", "expected a column that could be of a key"),
        ("rides", "i\n", "expected rows to draft a contract from, found none"),
    ]:
        path.write_text(text)
        assert main(["--dataset", dataset, "--file", str(path)], contracts) == 2
        printed = capsys.readouterr()
        assert expected in printed.err and printed.out == ""


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(0, 0, 0), (7, 7, 7), (1301, 1300, 1400), (-43, -43, -43), (-431, -440, -430), (12.74, 12, 13), (0.0123, 0.012, 0.013)],
)
def test_bounds_are_rounded_outwards(value, low, high):
    assert (outwards(value, "ROUND_FLOOR"), outwards(value, "ROUND_CEILING")) == (low, high)


def test_make_knows_the_command(tmp_path):
    path = tmp_path / "trips.csv"
    path.write_text("id\na\n")
    asked = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "contract", "DATASET=trips", f"FILE={path}", "DAY=2013-01-02"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    command = asked.stdout.split("-m laptop.contract_check", 1)[1].replace("\\\n", " ").split()
    assert command == ["--dataset", '"trips"', "--file", f'"{path}"', "--day", '"2013-01-02"']
    environment = {"PYTHONPATH": f"{ROOT}/include:{ROOT}/plugins", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "laptop.contract_check", "--dataset", "planes", "--file", str(path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "tailnum: expected a column of type string" in ran.stdout


@pytest.fixture(scope="module")
def year():
    """All deliveries of 2013."""
    return list(deliveries(date(2013, 1, 1), date(2013, 12, 31), date(2014, 1, 1)))


def test_no_real_day_of_the_year_is_refused(year, tmp_path):
    contracts = load_contracts(ROOT / "include" / "datasets")
    path, broken = tmp_path / "delivery.parquet", []
    for dataset, contract in contracts.items():
        path.write_bytes(parquet_bytes(pd.concat(rows for name, _, rows in year if name == dataset)))
        strict = replace(contract, columns=tuple(replace(column, tolerance=0.0) for column in contract.columns))
        breaches, notes = check(strict, DeliveredFile(path), date(2013, 12, 31))
        broken += said(breaches)
        assert notes == []
    # One row of the year breaks a promise; on its day the tolerance bears it.
    assert broken == ["wind_speed: values of at most 200: 1 of 26115 rows otherwise: 1048.36058"]
    day = date(2013, 2, 12)
    path.write_bytes(parquet_bytes(next(rows for name, ds, rows in year if (name, ds) == ("weather", day))))
    breaches, notes = check(contracts["weather"], DeliveredFile(path), day)
    assert breaches == [] and [(note.kind, note.column) for note in notes] == [("tolerated", "wind_speed")]


def test_no_real_day_of_the_year_has_an_unusual_number_of_rows(year):
    contracts = load_contracts(ROOT / "include" / "datasets")
    counts: dict[str, dict[date, int]] = {}
    for dataset, day, rows in year:
        counts.setdefault(dataset, {})[day] = len(rows)
    judged = 0
    for dataset in ("flights", "arrivals", "weather"):
        for day, rows in counts[dataset].items():
            band = volume_band(contracts[dataset], counts[dataset], day)
            assert band is None or rows in band, f"{dataset} {day}: {rows} rows, expected {band}"
            judged += band is not None
    assert judged > 1000


@pytest.mark.parametrize("share", [0.4, 1.6])
def test_a_day_cut_short_or_sent_nearly_twice_has_an_unusual_number_of_rows(year, share):
    contracts = load_contracts(ROOT / "include" / "datasets")
    counts = {day: len(rows) for dataset, day, rows in year if dataset == "flights"}
    noticed = [
        int(rows * share) not in band
        for day, rows in counts.items()
        if (band := volume_band(contracts["flights"], counts, day)) is not None
    ]
    assert sum(noticed) / len(noticed) > 0.9, "but for some holidays and weekdays that vary much"


def test_types_of_parquet_have_the_names_that_spark_has_for_them(tmp_path):
    moment = datetime(2013, 1, 2)
    content = {
        "tinyint": pa.array([1], pa.int8()),
        "smallint": pa.array([1], pa.int16()),
        "int": pa.array([1], pa.int32()),
        "bigint": pa.array([1], pa.int64()),
        "float": pa.array([1], pa.float32()),
        "double": pa.array([1.0]),
        "boolean": pa.array([True]),
        "string": pa.array(["a"]),
        "binary": pa.array([b"a"]),
        "date": pa.array([moment.date()]),
        "timestamp_ntz": pa.array([moment], pa.timestamp("us")),
        "timestamp": pa.array([moment], pa.timestamp("ms", "UTC")),
        "timestamp(nanos)": pa.array([moment], pa.timestamp("ns")),
        "decimal(10,2)": pa.array([None], pa.decimal128(10, 2)),
        "integer(32,false)": pa.array([1], pa.uint32()),
        "struct": pa.array([{"a": 1}]),
    }
    path = tmp_path / "types.parquet"
    pq.write_table(pa.table(content), path)
    assert DeliveredFile(path).columns == {name: name for name in content}


def test_a_frame_of_pandas_is_looked_into_as_it_is(tmp_path):
    path = tmp_path / "x.parquet"
    pd.DataFrame({"n": [1, None]}).to_parquet(path, index=False)
    assert DeliveredFile(path).columns == {"n": "double"}
    with pytest.raises(FileError, match="found a folder"):
        DeliveredFile(tmp_path)
