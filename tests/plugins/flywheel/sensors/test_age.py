"""A model's age."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.errors import WindowError
from flywheel.sensors.age import ModelAgeSensor


def told(judged_until: str, last_trained_until: str = "2013-05-01") -> dict[str, Any]:
    """XCom of a look at a model that may be eight weeks old."""
    xcom: dict[str, Any] = {}
    sensor = ModelAgeSensor(
        task_id="model_age", last_trained_until=last_trained_until, judged_until=judged_until, max_age_days=56
    )
    assert sensor.execute({"ti": SimpleNamespace(xcom_push=xcom.__setitem__)}) == xcom["reason"]
    return xcom


def test_a_model_that_is_too_old_is_a_reason() -> None:
    assert told("2013-06-26") == {"reason": "the newest data of the last training are 56 days old, 56 are too many"}


def test_a_younger_one_is_none() -> None:
    with pytest.raises(AirflowSkipException, match="55 days old"):
        told("2013-06-25")


def test_what_is_no_day_is_named() -> None:
    with pytest.raises(WindowError, match="last_trained_until"):
        told("2013-06-26", last_trained_until="None")
