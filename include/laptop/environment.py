"""The one place that builds the environment variables of Airflow and of the local AWS.

The settings that do not depend on the place are in airflow.env beside this file, which the containers read as well.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SHARED_SETTINGS = Path(__file__).with_name("airflow.env")
REGION = "us-east-1"
HOST = "127.0.0.1"
USER = "admin"
# The local AWS takes any. No word that occurs elsewhere: Airflow masks the password wherever it stands in a log.
ACCESS_KEY, SECRET_KEY = "laptop-access-key", "laptop-secret-key"
# Marks every process of a stack, its grandchildren included, so that `down` finds those that no record knows of.
MARK = "FLYWHEEL_STACK"


class SettingsError(Exception):
    """A setting of the laptop that cannot be used; the message names it, its value and what was expected."""


@dataclass(frozen=True)
class Place:
    """Where one stack lives: its state below `home`, its two ports, and the folders of the project that it runs.

    :param settings: settings of Airflow (environment variables) that go before all others here
    """

    home: Path = PROJECT / ".flywheel"
    airflow_port: int = 8080
    aws_port: int = 5005
    dags: Path = PROJECT / "dags"
    plugins: Path = PROJECT / "plugins"
    include: Path = PROJECT / "include"
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Place:
        """The place that FLYWHEEL_HOME, FLYWHEEL_AIRFLOW_PORT and FLYWHEEL_AWS_PORT name, else the usual one.

        Raises SettingsError for a port that is none.
        """
        home = Path(environ.get("FLYWHEEL_HOME") or cls.home).expanduser().resolve()
        place = cls(
            home=home,
            airflow_port=_port(environ, "FLYWHEEL_AIRFLOW_PORT", cls.airflow_port),
            aws_port=_port(environ, "FLYWHEEL_AWS_PORT", cls.aws_port),
        )
        if place.airflow_port == place.aws_port:
            raise SettingsError(
                f"FLYWHEEL_AIRFLOW_PORT and FLYWHEEL_AWS_PORT are both {place.aws_port}; give them two different ports"
            )
        return place

    @property
    def airflow_url(self) -> str:
        """Where Airflow's UI and REST API answer."""
        return f"http://{HOST}:{self.airflow_port}"

    @property
    def aws_url(self) -> str:
        """The endpoint of the local AWS, for every service."""
        return f"http://{HOST}:{self.aws_port}"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME: the metadata database and the tasks' logs."""
        return self.home / "airflow"

    @property
    def aws_root(self) -> Path:
        """The local AWS's root: objects, job folders, state."""
        return self.home / "aws"

    @property
    def logs(self) -> Path:
        """The folder with one log file per component."""
        return self.home / "logs"

    @property
    def passwords(self) -> Path:
        """The file with the passwords of Airflow's users, in the format of Airflow's SimpleAuthManager."""
        return self.home / "passwords.json"


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise SettingsError(f"{name}={value!r} is not a port; expected a number from 1 to 65535")
    return int(value)


def read_settings(text: str, where: str) -> dict[str, str]:
    """The KEY=VALUE lines of `text`; blank lines and lines that start with # are left out.

    Raises SettingsError with `where` and the line for anything else.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip().isidentifier():
            raise SettingsError(f"{where}, line {number}: expected KEY=VALUE, found {line!r}")
        settings[key.strip()] = value.strip()
    return settings


def secret_settings(place: Place) -> dict[str, str]:
    """The secrets of the place's Airflow, made once and kept below its home, readable by the user alone.

    They stay the same from one start to the next: a session in the browser and encrypted connections survive a restart.
    """
    path = place.home / "secrets.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise SettingsError(f"{path} is damaged ({error}); delete it and {place.airflow_home}, then start again") from error
    values = {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
    }
    write_private(path, json.dumps(values, indent=1))
    return values


def password(place: Place) -> str:
    """The password of Airflow's user `admin` in this place, made at the first call."""
    try:
        return str(json.loads(place.passwords.read_text(encoding="utf-8"))[USER])
    except (FileNotFoundError, KeyError, ValueError):
        made = secrets.token_urlsafe(12)
        write_private(place.passwords, json.dumps({USER: made}) + "\n")
        return made


def write_private(path: Path, text: str) -> None:
    """Write `text` whole or not at all, with mode 600 from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def base_environment(place: Place, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What every process of the stack inherits: the user's environment without what would lead it astray.

    Gone are all AWS_* and AIRFLOW* variables (a profile of the user's must never reach a real account from here), and
    what changes Python's own behaviour. Proxies are told to leave the loopback alone.
    """
    dropped = ("AWS_", "AIRFLOW", "_AIRFLOW", "PYTHON", "VIRTUAL_ENV", "SPARK_", "MAKE", "MFLAGS")
    env = {name: value for name, value in environ.items() if not name.startswith(dropped)}
    direct = [part for part in env.get("NO_PROXY", env.get("no_proxy", "")).split(",") if part]
    direct += [host for host in (HOST, "localhost") if host not in direct]
    env["NO_PROXY"] = env["no_proxy"] = ",".join(direct)
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONFAULTHANDLER"] = "1"
    # Airflow renames its processes; without this, the new name would be written over the environment that `ps` and we
    # can see.
    env["SPT_NOENV"] = "1"
    env[MARK] = str(place.home)
    return env


def aws_environment(place: Place) -> dict[str, str]:
    """The environment of the local AWS and of any boto3 program that shall talk to it: endpoint, region, any
    credentials."""
    env = base_environment(place)
    env |= {
        "PATH": os.pathsep.join([str(PROJECT / ".venv-jobs" / "bin"), env.get("PATH", os.defpath)]),
        "PYTHONPATH": str(PROJECT / "include"),
        "AWS_ENDPOINT_URL": place.aws_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return env


def database(place: Place, patience_s: float) -> str:
    """URL of the metadata database.

    :param patience_s: how long a statement waits for the one writer that SQLite has at a time
    """
    return f"sqlite:///{place.airflow_home / 'airflow.db'}?timeout={patience_s:g}"


def airflow_environment(place: Place, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of every Airflow process.

    :param settings: what include/infra/provision.py has printed: the names of the resources that it made.
    """
    env = base_environment(place)
    env |= read_settings(SHARED_SETTINGS.read_text(encoding="utf-8"), str(SHARED_SETTINGS))
    env |= secret_settings(place)
    password(place)
    connection = {
        "conn_type": "aws",
        "login": ACCESS_KEY,
        "password": SECRET_KEY,
        "extra": {"region_name": REGION, "endpoint_url": place.aws_url},
    }
    env |= {
        "PATH": os.pathsep.join([str(PROJECT / ".venv" / "bin"), env.get("PATH", os.defpath)]),
        "AIRFLOW_HOME": str(place.airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(place.dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(place.plugins),
        "AIRFLOW__FLYWHEEL__INCLUDE_DIR": str(place.include),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{place.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(place.passwords),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(place.airflow_port),
        "AIRFLOW__API__BASE_URL": place.airflow_url,
        # A scheduler that does not get its turn to write within SQLite's usual five seconds ends.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database(place, patience_s=60),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(place.airflow_home / "logs"),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AWS_EC2_METADATA_DISABLED": "true",
        # A fork of a macOS process that has touched Objective-C dies without it; LocalExecutor forks.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }
    return env | dict(settings) | dict(place.settings)
