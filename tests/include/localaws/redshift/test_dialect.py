"""Splitting texts and finding placeholders."""

from __future__ import annotations

import pytest

from localaws.redshift.dialect import date_part, parse, placeholders, split
from localaws.redshift.errors import RedshiftError


def test_split_knows_strings_and_comments():
    assert split("select ';' -- a;b\n; /* ; */ select $$;$$;;") == ["select ';'", "select $$;$$"]
    assert split("  ;  ") == []
    assert split("-- about\nselect 'it''s' /* in */ , $q$a$q$ -- after") == ["select 'it''s' /* in */ , $q$a$q$"]


def test_placeholders_are_not_casts_strings_or_comments():
    assert placeholders("select :a, x::int, ':b', $$:c$$ /* :d */ from t where y=:e_1 -- :f") == {"a", "e_1"}


def test_unterminated_string():
    with pytest.raises(RedshiftError, match="unterminated"):
        split("select 'a")


def test_date_parts_have_many_names():
    assert {date_part(parse(f"select {name}").expressions[0]) for name in ("mon", "months", "MON")} == {"month"}


@pytest.mark.parametrize("name", ["ifnull", "string_agg", "if", "approx_count_distinct", "list_value", "date", "now"])
def test_functions_that_redshift_has_not(sql, name):
    with pytest.raises(RedshiftError, match=rf"function {name}\(\) does not exist|does not serve"):
        sql(f"select {name}(1, 2, 3)")
