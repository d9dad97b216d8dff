"""Contracts: the delivered ones are right, and each mistake in one is named with file, key, expected and found."""

import json
from datetime import date
from pathlib import Path

import pytest

from flywheel.core.contracts import check_schema, load_contract, load_contracts, parse_contract
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
        ({"delivered_with": 3}, "delivered_with", "dataset's name"),
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


def test_schema_violations_say_where_and_what():
    promised = parse_contract(contract(), "trips.yaml")
    assert check_schema(promised, {"id": "string", "miles": "float", "more": "int"}, partition="ds=1", file="f") == []
    broken = check_schema(promised, {"id": "bigint", "mile": "double"}, partition="ds=2013-01-02", file="trips.parquet")
    assert [str(violation) for violation in broken] == [
        "dataset trips, partition ds=2013-01-02, file trips.parquet, column id: expected type string, found type bigint",
        "dataset trips, partition ds=2013-01-02, file trips.parquet, column miles: expected a column of type double, "
        "found no such column (but 'mile')",
    ]
    optional = parse_contract(
        contract(columns=[{"name": "id", "type": "string"}, {"name": "x", "type": "int", "required": False}]), "t"
    )
    assert check_schema(optional, {"id": "string"}, partition="p", file="f") == []
