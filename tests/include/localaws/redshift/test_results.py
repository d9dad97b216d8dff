"""Values as the Data API writes them."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from localaws.redshift.results import as_csv, field_of, page_of, page_token, text_of


@pytest.mark.parametrize(
    ("value", "kind", "field"),
    [
        (None, "int4", {"isNull": True}),
        (1, "int2", {"longValue": 1}),
        (Decimal("1.50"), "numeric", {"stringValue": "1.50"}),
        (Decimal("1E-7"), "numeric", {"stringValue": "0.0000001"}),
        (0.1, "float8", {"doubleValue": 0.1}),
        (float("nan"), "float8", {"doubleValue": "NaN"}),
        (False, "bool", {"booleanValue": False}),
        ("", "varchar", {"stringValue": ""}),
        (datetime.date(2013, 1, 2), "date", {"stringValue": "2013-01-02"}),
    ],
)
def test_field(value, kind, field):
    assert field_of(value, kind) == field


def test_times():
    assert text_of(datetime.datetime(2013, 1, 1, 5)) == "2013-01-01 05:00:00"
    assert text_of(datetime.datetime(2013, 1, 1, 5, 0, 0, 250000, tzinfo=datetime.UTC)) == "2013-01-01 05:00:00.25+00"
    assert text_of(datetime.timedelta(days=1, seconds=3661)) == "1 days 01:01:01"


def test_csv():
    assert as_csv([[{"longValue": 1}, {"isNull": True}, {"stringValue": 'a,"'}, {"booleanValue": True}]]) == '1,,"a,""",true\r\n'


def test_tokens_belong_to_a_statement():
    assert page_of("a:1", page_token("a:1", 7)) == 7
    assert page_of("a:1", None) == 0
    with pytest.raises(ValueError):
        page_of("b", page_token("a:1", 7))
