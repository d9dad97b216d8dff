"""What a delivered partition breaks, what is only noted, and the words in which either is told."""

import json
from datetime import date, timedelta

import pytest

from flywheel.core.contract_files import parse_contract
from flywheel.core.delivery_checks import (
    ALERTING,
    ALLOWED,
    FITS,
    MAX,
    MIN,
    NARROWER_TYPES,
    VALUE,
    WIDER_TYPES,
    Broken,
    Note,
    Violation,
    check_schema,
    check_volume,
    judge_rows,
    row_checks,
)

DAY = date(2013, 1, 2)


def trips(*columns, **changes):
    """A contract with a key and the columns given."""
    content = {
        "name": "trips",
        "description": "d",
        "owner": "o",
        "cadence": "daily",
        "first_partition": "2013-01-01",
        "key": ["id"],
        "columns": [{"name": "id", "type": "string"}, *columns],
    }
    return parse_contract(content | changes, "trips.yaml")


def checked(promised, day=DAY, **found):
    return check_schema(promised, {"id": "string"} | found, day=day, file="trips.parquet")


def test_a_file_as_promised_has_nothing_to_tell():
    schema = checked(trips({"name": "miles", "type": "double"}, {"name": "late", "type": "bool"}), miles="double", late="boolean")
    assert (schema.breaches, schema.notes, schema.missing) == ([], [], ())
    assert schema.read_as == {"id": "string", "miles": "double", "late": "boolean"}


def test_breaches_of_a_schema_say_where_and_what():
    promised = trips({"name": "miles", "type": "double"})
    schema = check_schema(promised, {"id": "bigint", "mile": "double"}, day=DAY, file="trips.parquet")
    assert [str(violation) for violation in schema.breaches] == [
        "dataset trips, partition ds=2013-01-02, file trips.parquet, column id: expected type string, found type bigint",
        "dataset trips, partition ds=2013-01-02, file trips.parquet, column miles: expected a column of type double, "
        "found no such column (but 'mile')",
    ]
    assert schema.read_as == {}


def test_a_column_that_nobody_knows_is_noted_and_wants_a_person():
    schema = checked(trips(), gate="int")
    assert schema.breaches == [] and "gate" not in schema.read_as
    assert [(note.kind, note.dataset, note.partition, note.column) for note in schema.notes] == [
        ("unknown_column", "trips", "ds=2013-01-02", "gate")
    ]
    assert "type int" in schema.notes[0].text and schema.notes[0].kind in ALERTING


def test_two_columns_that_differ_by_case_only_cannot_be_read():
    schema = checked(trips(), Id="string")
    assert [str(violation).partition("column ")[2] for violation in schema.breaches] == [
        "id: expected one column of that name, in upper or lower case, found 'id' and 'Id'"
    ]


def test_an_optional_column_may_be_absent_and_is_filled_with_nulls():
    schema = checked(trips({"name": "gate", "type": "int", "required": False}))
    assert (schema.breaches, schema.notes, schema.missing) == ([], [], ("gate",))


def test_a_new_column_may_be_absent_before_its_day_and_not_from_it_on():
    promised = trips({"name": "gate", "type": "int", "since": "2013-02-01"})
    before, after = checked(promised, date(2013, 1, 31)), checked(promised, date(2013, 2, 1))
    assert (before.breaches, before.notes, before.missing) == ([], [], ("gate",))
    assert [violation.found for violation in after.breaches] == ["no such column"]
    assert row_checks(promised, before) == row_checks(trips(), checked(trips())), "no row is asked for a value it cannot have"


def test_a_column_that_leaves_before_its_date_is_a_breach_that_names_the_date():
    promised = trips({"name": "gate", "type": "int", "deprecated_on": "2013-03-01"})
    assert checked(promised, date(2013, 3, 14), gate="int").notes == []
    early, due = checked(promised, date(2013, 3, 14)), checked(promised, date(2013, 3, 15))
    assert [violation.expected for violation in early.breaches] == [
        "a column of type int until 2013-03-15 (deprecated on 2013-03-01, 14 days' notice)"
    ]
    assert due.breaches == [] and due.missing == ("gate",)
    assert [(note.kind, note.column, note.kind in ALERTING) for note in due.notes] == [("removed", "gate", True)]
    assert checked(promised, date(2013, 3, 15), gate="int").notes == [], "it may stay for longer"


@pytest.mark.parametrize(("promise", "found"), [(kind, found) for kind, types in NARROWER_TYPES.items() for found in types])
def test_a_narrower_type_passes_in_silence_and_is_read_as_what_it_is(promise, found):
    promised = trips({"name": "n", "type": promise})
    schema = checked(promised, n=found)
    assert (schema.breaches, schema.notes) == ([], []) and schema.read_as["n"] == found
    assert FITS not in {check.kind for check in row_checks(promised, schema)}


WIDER = [("int", "bigint"), ("int", "double"), ("date", "timestamp"), ("date", "timestamp_ntz")]


def test_the_wider_types_are_those_that_hold_each_value_of_the_promised_one():
    assert {(kind, found) for kind, types in WIDER_TYPES.items() for found in types} == set(WIDER)


@pytest.mark.parametrize(("promise", "found"), WIDER)
def test_a_wider_type_passes_with_a_note_and_a_look_at_each_value(promise, found):
    promised = trips({"name": "n", "type": promise})
    schema = checked(promised, n=found)
    assert schema.breaches == [] and schema.read_as["n"] == found
    assert [(note.kind, note.column, note.kind in ALERTING) for note in schema.notes] == [("widened", "n", True)]
    assert f"type {found} instead of {promise}" in schema.notes[0].text
    assert [check.kind for check in row_checks(promised, schema)] == [VALUE, FITS, VALUE]


@pytest.mark.parametrize(
    ("promise", "found"),
    [
        ("bigint", "double"),
        ("double", "bigint"),
        ("int", "string"),
        ("int", "boolean"),
        ("string", "int"),
        ("bool", "int"),
        ("timestamp", "timestamp_ntz"),
        ("timestamp", "date"),
        ("timestamp", "timestamp(nanos)"),
        ("double", "decimal(10,2)"),
        ("date", "string"),
    ],
)
def test_any_other_type_is_a_breach(promise, found):
    schema = checked(trips({"name": "n", "type": promise}), n=found)
    assert [violation.found for violation in schema.breaches] == [f"type {found}"] and "n" not in schema.read_as


def test_rows_are_asked_for_everything_that_the_contract_promises_of_them():
    promised = trips(
        {"name": "miles", "type": "double", "nullable": True, "min": 0, "max": 9},
        {"name": "origin", "type": "string", "nullable": True, "allowed": ["EWR", "JFK"]},
        {"name": "note", "type": "string", "nullable": True},
    )
    checks = row_checks(promised, checked(promised, miles="double", origin="string", note="string"))
    assert [(check.column.name, check.kind, check.expected) for check in checks] == [
        ("id", VALUE, "a value in each row"),
        ("miles", MIN, "values of at least 0"),
        ("miles", MAX, "values of at most 9"),
        ("origin", ALLOWED, "one of EWR, JFK"),
    ]


def judged(promised, found, rows=100, **types):
    """The verdict on rows of which ``found`` says how many break which check of which column."""
    checks = row_checks(promised, checked(promised, **types))
    broken = [Broken(check, found.get((check.column.name, check.kind), 0), ("1048",)) for check in checks]
    return judge_rows(promised, broken, day=DAY, file="f", rows=rows)


WIND = {"name": "wind", "type": "double", "nullable": True, "min": 0, "max": 200, "tolerance": 0.02}


def test_rows_within_the_tolerance_are_noted_for_nobody():
    breaches, notes = judged(trips(WIND), {("wind", MAX): 2}, wind="double")
    assert breaches == []
    assert notes == [
        Note(
            "tolerated",
            "trips",
            "ds=2013-01-02",
            "wind",
            "expected values of at most 200, found 2 of 100 rows otherwise, e.g. 1048; tolerated up to 2.00% of the rows",
        )
    ]
    assert notes[0].kind not in ALERTING


def test_rows_beyond_the_tolerance_are_a_breach_with_samples():
    breaches, notes = judged(trips(WIND), {("wind", MAX): 3}, wind="double")
    assert notes == []
    assert [str(violation) for violation in breaches] == [
        "dataset trips, partition ds=2013-01-02, file f, column wind: expected values of at most 200 "
        "(all but 2.00% of the rows), found 3 of 100 rows otherwise, e.g. 1048"
    ]


def test_the_tolerance_is_one_for_all_promises_of_a_column():
    assert judged(trips(WIND), {("wind", MIN): 1, ("wind", MAX): 1}, wind="double")[0] == []
    breaches, notes = judged(trips(WIND), {("wind", MIN): 2, ("wind", MAX): 1}, wind="double")
    assert [violation.expected.split(" (")[0] for violation in breaches] == ["values of at least 0", "values of at most 200"]
    assert notes == []


def test_without_a_tolerance_a_single_row_is_a_breach():
    breaches, notes = judged(trips(), {("id", VALUE): 1}, rows=1_000_000)
    assert [violation.expected for violation in breaches] == ["a value in each row"] and notes == []


def test_values_that_do_not_fit_are_never_tolerated():
    promised = trips({"name": "gate", "type": "int", "nullable": True, "min": 0, "tolerance": 0.5})
    breaches, _ = judged(promised, {("gate", FITS): 1}, gate="bigint")
    assert [violation.expected for violation in breaches] == ["values that fit type int"]
    breaches, notes = judged(promised, {("gate", FITS): 50, ("gate", MIN): 50}, gate="bigint")
    assert [violation.expected for violation in breaches] == ["values that fit type int"], "they do not count as tolerated ones"
    assert [note.kind for note in notes] == ["tolerated"]


@pytest.mark.parametrize("percent", range(1, 100))
def test_the_share_at_the_limit_is_within_it(percent):
    promised = trips(WIND | {"tolerance": percent / 100})
    assert judged(promised, {("wind", MAX): percent}, wind="double")[0] == []
    assert judged(promised, {("wind", MAX): percent + 1}, wind="double")[0] != []


def test_an_unusual_number_of_rows_is_a_breach_that_says_what_it_was_learned_from():
    counts = {DAY - timedelta(weeks=weeks): 100 + weeks for weeks in range(1, 9)}
    assert check_volume(trips(), counts, day=DAY, file="f", rows=90) == []
    assert [str(violation) for violation in check_volume(trips(), counts, day=DAY, file="f", rows=20)] == [
        "dataset trips, partition ds=2013-01-02, file f: expected 52 to 157 rows (the same weekday before, newest first: "
        "101, 102, 103, 104, 105, 106, 107, 108), found 20 rows"
    ]
    assert check_volume(trips(), {}, day=DAY, file="f", rows=20) == []
    assert check_volume(trips(volume=None), counts, day=DAY, file="f", rows=20) == []


def test_breaches_and_notes_travel_as_json():
    violation = Violation("trips", "ds=2013-01-02", "f", "wind", "e", "x", ("1", "2"))
    assert json.loads(json.dumps(violation.as_dict())) == violation.as_dict()
    assert violation.as_dict() == {
        "dataset": "trips",
        "partition": "ds=2013-01-02",
        "file": "f",
        "column": "wind",
        "expected": "e",
        "found": "x",
        "samples": ["1", "2"],
    }
    note = Note("widened", "trips", "ds=2013-01-02", "wind", "t")
    assert note.as_dict() == {"kind": "widened", "dataset": "trips", "partition": "ds=2013-01-02", "column": "wind", "text": "t"}
    assert {"unknown_column", "removed", "widened"} == ALERTING
