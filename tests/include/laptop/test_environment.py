from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from laptop.environment import (
    SHARED_SETTINGS,
    Place,
    SettingsError,
    airflow_environment,
    aws_environment,
    base_environment,
    password,
    read_settings,
    secret_settings,
)


def test_a_place_takes_its_ports_and_home_from_the_environment(tmp_path: Path) -> None:
    place = Place.from_environment({"FLYWHEEL_HOME": str(tmp_path), "FLYWHEEL_AIRFLOW_PORT": "9080", "FLYWHEEL_AWS_PORT": "9005"})
    assert (place.home, place.airflow_url, place.aws_url) == (
        tmp_path,
        "http://127.0.0.1:9080",
        "http://127.0.0.1:9005",
    )


@pytest.mark.parametrize("value", ["abc", "0", "70000", "-1", "8080 "])
def test_a_port_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(SettingsError, match=r"FLYWHEEL_AWS_PORT='.*' is not a port"):
        Place.from_environment({"FLYWHEEL_AWS_PORT": value})


def test_two_equal_ports_are_refused() -> None:
    with pytest.raises(SettingsError, match="both 8080"):
        Place.from_environment({"FLYWHEEL_AWS_PORT": "8080"})


def test_settings_are_key_value_lines_with_comments() -> None:
    assert read_settings("# why\nA=1\n\n B_C = x=y \n", "here") == {"A": "1", "B_C": "x=y"}
    with pytest.raises(SettingsError, match="here, line 2: expected KEY=VALUE"):
        read_settings("A=1\nnot a setting\n", "here")


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    place = Place(home=tmp_path)
    assert secret_settings(place) == secret_settings(place)
    assert password(place) == password(place)
    for name in ("secrets.json", "passwords.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert secret_settings(Place(home=tmp_path / "other")) != secret_settings(place)


def test_damaged_secrets_are_named(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(SettingsError, match=r"secrets.json is damaged"):
        secret_settings(Place(home=tmp_path))


def test_nothing_of_a_real_account_or_another_airflow_reaches_the_stack(tmp_path: Path) -> None:
    around = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "secret",
        "AIRFLOW_HOME": "/elsewhere",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "PYTHONPATH": "/elsewhere",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/home/user",
        "NO_PROXY": "internal",
    }
    env = base_environment(Place(home=tmp_path), around)
    assert not set(env) & (set(around) - {"HOME", "NO_PROXY"})
    assert env["HOME"] == "/home/user"
    assert env["NO_PROXY"] == "internal,127.0.0.1,localhost"


def test_airflow_knows_the_local_aws_by_its_connection_alone(tmp_path: Path) -> None:
    place = Place(home=tmp_path, aws_port=5999)
    env = airflow_environment(place, {"AIRFLOW__FLYWHEEL__BUCKET": "some-bucket"})
    assert json.loads(env["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"] == place.aws_url
    assert "AWS_ENDPOINT_URL" not in env
    assert env["AIRFLOW__FLYWHEEL__BUCKET"] == "some-bucket"
    assert read_settings(SHARED_SETTINGS.read_text(), "airflow.env").items() <= env.items()


def test_everything_binds_the_loopback(tmp_path: Path) -> None:
    place = Place(home=tmp_path)
    assert airflow_environment(place, {})["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert aws_environment(place)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5005"
