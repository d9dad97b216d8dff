"""Contracts: the delivered ones are right, and each mistake in one is named with file, key, expected and found."""

import json
import re
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from flywheel.core.contract_files import load_contract, load_contracts, parse_contract
from flywheel.core.contracts import Column, Contract, Volume
from flywheel.core.errors import SpecError

DATASETS = Path(__file__).parents[4] / "include" / "datasets"


def contract(**changes):
    content = {
        "name": "trips",
        "description": "d",
        "owner": "o",
        "cadence": "daily",
        "first_partition": "2013-01-01",
        "key": ["id"],
        "columns": [{"name": "id", "type": "string"}, {"name": "miles", "type": "double", "nullable": True, "min": 0}],
    }
    return {key: value for key, value in (content | changes).items() if value != "left out"}


def miles(**changes):
    """The change of a contract that gives its column ``miles`` other promises."""
    column = {"name": "miles", "type": "double", "nullable": True, "min": 0} | changes
    return {"columns": [{"name": "id", "type": "string"}, column]}


def test_the_projects_contracts_load_and_survive_json():
    contracts = load_contracts(DATASETS)
    assert sorted(contracts) == ["arrivals", "flights", "planes", "weather"]
    for one in contracts.values():
        assert parse_contract(json.loads(json.dumps(one.as_dict())), "again") == one
        assert all(column.meaning for column in one.columns)


def test_flights_hold_nothing_of_the_arrival():
    names = {column.name for column in load_contracts(DATASETS)["flights"].columns}
    assert not names & {"arr_time", "arr_delay", "air_time"}


def test_a_late_dataset_is_asked_for_earlier_days():
    contracts = load_contracts(DATASETS)
    start, end = date(2013, 1, 1), date(2013, 1, 3)
    assert contracts["flights"].expected_days(start, end) == [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 3)]
    assert contracts["arrivals"].expected_days(start, end) == [date(2013, 1, 1), date(2013, 1, 2)]
    assert contracts["arrivals"].expected_days(start, start) == []
    assert contracts["arrivals"].expected_days(end, end) == [date(2013, 1, 2)]


def test_days_after_the_last_partition_are_not_expected():
    weather = load_contracts(DATASETS)["weather"]
    assert weather.expected_days(date(2013, 12, 29), date(2013, 12, 31)) == [date(2013, 12, 29), date(2013, 12, 30)]
    assert weather.expected_days(date(2013, 12, 31), date(2013, 12, 31)) == []


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"lag_day": 1}, "lag_day", "did you mean 'lag_days'"),
        ({"owner": "left out"}, "owner", "the key is required"),
        ({"cadence": "hourly"}, "cadence", "one of daily, once"),
        ({"lag_days": -1}, "lag_days", "0 or more"),
        ({"lag_days": True}, "lag_days", "whole number"),
        ({"cadence": "once", "lag_days": 1}, "lag_days", "cadence once"),
        ({"first_partition": "yesterday"}, "first_partition", "YYYY-MM-DD"),
        ({"name": "My Trips"}, "name", "lower-case"),
        ({"delivered_with": 3}, "delivered_with", "lower-case"),
        ({"owner": ""}, "owner", "a text"),
        ({"key": []}, "key", "identify a row"),
        ({"key": ["nope"]}, "key", "columns of this contract"),
        ({"key": ["miles"]}, "columns[1]", "never null"),
        ({"columns": []}, "columns", "a list of columns"),
        ({"columns": [{"name": "id", "type": "string"}] * 2}, "columns", "each column once"),
        ({"columns": [{"name": "id", "type": "text"}]}, "columns[0] (id).type", "one of int, bigint"),
        ({"columns": [{"name": "Id", "type": "string"}]}, "columns[0].name", "lower-case"),
        ({"columns": [{"name": "id"}]}, "columns[0].type", "required"),
        ({"columns": [{"name": "id", "type": "string", "minimum": 1}]}, "columns[0].minimum", "did you mean 'min'"),
        ({"columns": [{"name": "id", "type": "string", "min": 1}]}, "columns[0] (id).min", "no bound"),
        ({"columns": [{"name": "id", "type": "int", "min": "a"}]}, "columns[0] (id).min", "a number"),
        ({"columns": [{"name": "id", "type": "int", "min": 2, "max": 1}]}, "columns[0] (id).min", "at most max"),
        ({"columns": [{"name": "id", "type": "int", "allowed": ["a"]}]}, "columns[0] (id).allowed", "no list"),
        ({"columns": [{"name": "id", "type": "string", "allowed": [1]}]}, "columns[0] (id).allowed", "a list of texts"),
        ({"columns": [{"name": "id", "type": "string", "nullable": "yes"}]}, "columns[0] (id).nullable", "true or false"),
        ({"columns": [{"name": "ds", "type": "date"}]}, "columns[0].name", "day of the partition"),
        ({"columns": "id"}, "columns", "a list of columns"),
        ({"key": None}, "key", "identify a row"),
        ({"last_partition": "2012-12-31"}, "last_partition", "first_partition (2013-01-01) or later"),
        ({"chunk_days": 0}, "chunk_days", "a whole number of days, 1 or more"),
        ({"chunk_day": 7}, "chunk_day", "did you mean 'chunk_days'"),
        ({"corrected_within_days": 1.5}, "corrected_within_days", "a whole number of days, 0 or more"),
        ({"volume": 0.5}, "volume", "null for any number of rows"),
        ({"volume": {"tolerance": 0}}, "volume.tolerance", "more than 0"),
        ({"volume": {"min_week": 2}}, "volume.min_week", "did you mean 'min_weeks'"),
        ({"volume": {"weeks": 2}}, "volume.min_weeks", "at most weeks (2)"),
        ({"cadence": "once", "volume": {}}, "volume", "cadence once"),
        (miles(tolerance=1), "columns[1] (miles).tolerance", "less than 1"),
        (miles(tolerance=-0.1), "columns[1] (miles).tolerance", "0 or more"),
        (miles(min=None, tolerance=0.1), "columns[1] (miles).tolerance", "a promise that rows could break"),
        (miles(max=float("inf")), "columns[1] (miles).max", "a number"),
        (miles(owner=""), "columns[1] (miles).owner", "a text"),
        (miles(since="soon"), "columns[1] (miles).since", "YYYY-MM-DD"),
        (miles(deprecated_on="2013-03-01", notice_days=13), "columns[1] (miles).notice_days", "14 or more"),
        (miles(notice_days=21), "columns[1] (miles).notice_days", "deprecated_on beside it"),
        (miles(since="2013-03-02", deprecated_on="2013-03-01"), "columns[1] (miles).deprecated_on", "since (2013-03-02)"),
        ({"columns": [{"name": "id", "type": "string", "tolerance": 0.1}]}, "columns[0] (id).tolerance", "no such key"),
        ({"columns": [{"name": "id", "type": "string", "since": "2013-02-01"}]}, "columns[0] (id).since", "no such key"),
        (
            {"columns": [{"name": "id", "type": "string", "deprecated_on": "2013-02-01"}]},
            "columns[0] (id).deprecated_on",
            "no such key",
        ),
    ],
)
def test_a_wrong_contract_names_file_key_expected_and_found(changes, key, expected):
    with pytest.raises(SpecError) as raised:
        parse_contract(contract(**changes), "trips.yaml")
    assert raised.value.source == "trips.yaml" and raised.value.key == key
    assert expected in raised.value.expected


def test_files_that_are_no_contract(tmp_path):
    for name, text, expected in [
        ("a.yaml", "name: [", "valid YAML"),
        ("b.json", "{", "valid JSON"),
        ("c.yaml", "- 1", "a mapping"),
        ("d.json", json.dumps(contract()), "the file's name"),
    ]:
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(SpecError, match=expected):
            load_contract(path)


def test_delivered_with_must_name_a_dataset_of_its_own(tmp_path):
    (tmp_path / "trips.yaml").write_text(json.dumps(contract(delivered_with="flights")))
    with pytest.raises(SpecError, match=r"trips\.yaml: delivered_with"):
        load_contracts(tmp_path)


def test_what_is_left_out_of_a_contract_has_its_default():
    plain = parse_contract(contract(), "trips.yaml")
    assert (plain.chunk_days, plain.corrected_within_days, plain.volume) == (31, 7, Volume(0.5, 8, 3))
    assert parse_contract(contract(volume=None), "t").volume is None
    assert parse_contract(contract(volume={"weeks": 4}), "t").volume == Volume(0.5, 4, 3)
    assert parse_contract(contract(cadence="once"), "t").volume is None


def test_a_column_is_its_datasets_owners_unless_it_says_whose():
    promised = parse_contract(contract(**miles(owner="surveyors")), "trips.yaml")
    assert {column.name: column.owner for column in promised.columns} == {"id": "o", "miles": "surveyors"}


def test_a_column_that_leaves_may_be_gone_after_its_notice():
    promised = parse_contract(contract(**miles(deprecated_on="2013-03-01", notice_days=21)), "t").column("miles")
    assert promised.removed_on == date(2013, 3, 22)
    assert parse_contract(contract(**miles(deprecated_on="2013-03-01")), "t").column("miles").removed_on == date(2013, 3, 15)
    assert parse_contract(contract(), "t").column("miles").removed_on is None


def test_every_promise_survives_json():
    promised = parse_contract(
        contract(
            volume={"tolerance": 0.2, "weeks": 4, "min_weeks": 2},
            chunk_days=7,
            corrected_within_days=0,
            **miles(max=9, tolerance=0.01, owner="x", since="2013-02-01", deprecated_on="2013-03-01", notice_days=30),
        ),
        "trips.yaml",
    )
    for one in (promised, parse_contract(contract(volume=None), "t"), parse_contract(contract(cadence="once"), "t")):
        assert parse_contract(json.loads(json.dumps(one.as_dict())), "again") == one


def test_a_contracts_version_changes_with_anything_in_it():
    plain = parse_contract(contract(), "trips.yaml")
    assert re.fullmatch("[0-9a-f]{12}", plain.version)
    assert plain.version == parse_contract(plain.as_dict(), "again").version
    changes = [{"lag_days": 1}, {"volume": None}, {"chunk_days": 30}, miles(min=1), miles(tolerance=0.1), miles(meaning="m")]
    assert len({plain.version, *(parse_contract(contract(**change), "t").version for change in changes)}) == len(changes) + 1


def test_each_key_of_a_contract_is_described_for_editors():
    for kind in (Contract, Column, Volume):
        assert all(f":param {field.name}: " in kind.__doc__ for field in fields(kind))
