"""The JSONPath of Batch Transform's filters."""

from __future__ import annotations

import pytest

from localaws.sagemaker.json_path import FilterError, column_picks, selector


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("$", None),
        ("", None),
        ("$[1:]", [1, 2, 3]),
        ("$[0,-1]", [0, 3]),
        ("$[-1]", [3]),
        ("$[:2]", [0, 1]),
        ("$[::2]", [0, 2]),
        ("$[*]", [0, 1, 2, 3]),
        ("$.*", [0, 1, 2, 3]),
        ("$[ 3 , 0 ]", [3, 0]),
    ],
)
def test_column_picks(path: str, picked: list[int] | None) -> None:
    assert column_picks(path, 4) == picked


@pytest.mark.parametrize(
    ("path", "value", "picked"),
    [
        ("$.features", {"features": [1, 2], "id": 3}, [1, 2]),
        ("$['id','SageMakerOutput']", {"id": 3, "x": 1, "SageMakerOutput": 0.5}, {"id": 3, "SageMakerOutput": 0.5}),
        ("$.a.b[0]", {"a": {"b": [7, 8]}}, 7),
        ("$[0,2]", [5, 6, 7], [5, 7]),
        ("$[1:]", [5, 6, 7], [6, 7]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
    ],
)
def test_selector(path: str, value: object, picked: object) -> None:
    assert selector(path)(value) == picked


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("features", "must start with"),
        ("$..a", "not supported from '..a'"),
        ("$[?(@.a)]", "neither indexes"),
        ("$[0", "not supported from '[0'"),
        ("$[::0]", "cannot be 0"),
    ],
)
def test_what_it_cannot_read_is_named(path: str, said: str) -> None:
    with pytest.raises(FilterError) as error:
        selector(path)
    assert said in str(error.value)


def test_what_a_record_lacks_is_named() -> None:
    with pytest.raises(FilterError, match="'b' is not in the record"):
        selector("$.b")({"a": 1})
    with pytest.raises(FilterError, match=r"index 4 is out of range, the rows have 4 columns"):
        column_picks("$[4]", 4)
    with pytest.raises(FilterError, match="does not fit CSV"):
        column_picks("$.features", 4)
