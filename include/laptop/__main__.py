"""`python -m laptop up|down|status|demo|bench|compose-env`: what `make` calls, with the right Python and path."""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import date
from typing import Any

from laptop import stack
from laptop.airflow_api import AirflowApiError
from laptop.environment import PROJECT, REGION, USER, Place, SettingsError, password, secret_settings, write_private
from laptop.schema import SchemaError


def up(place: Place) -> int:
    """Start the stack and say how to use it. Returns 0, also when it was up already."""
    with stack.exclusive(place, "make up"):
        started = stack.start(place)
    print("\nFlywheel is up." if started else "\nFlywheel was up already.")
    print(f"  Airflow    {place.airflow_url}   user {USER}, password {password(place)}")
    print(f"  local AWS  {place.aws_url}   region {REGION}, any credentials")
    print(f"  logs       {place.logs}")
    print("  `make status` shows how it stands, `make down` stops it.")
    return 0


def down(place: Place) -> int:
    """Stop the stack. Returns 0, also when nothing ran."""
    with stack.exclusive(place, "make down"):
        ran = stack.shut_down(place)
    print("Flywheel is down; its state stays in " + str(place.home) if ran else "Flywheel was not running.")
    return 0


def status(place: Place) -> int:
    """Print a table of the components. Returns 0 when all run, 3 when none does, 1 otherwise."""
    rows = stack.state(place)
    for row in rows:
        since = row.since.isoformat(sep=" ", timespec="seconds") if row.since else ""
        word = "running" if row.running else "ended" if row.pid else "down"
        print(f"{row.name:14} {word:8} {row.pid or '':>8}  {since}".rstrip())
    running = sum(row.running for row in rows)
    if running == len(rows):
        print(f"\nAirflow {place.airflow_url} (user {USER}, password {password(place)}), local AWS {place.aws_url}")
        return 0
    if any(row.pid for row in rows):
        stack.check(place)
    return 1 if running else 3


def compose_env(place: Place) -> int:
    """Write .env, the secrets that docker-compose.yaml's and Astro's components share. One that exists is left
    alone."""
    path = PROJECT / ".env"
    if path.exists():
        print(f"{path} exists already; delete it to make new secrets.")
        return 0
    text = "".join(f"{name}={value}\n" for name, value in secret_settings(place).items())
    write_private(path, "# Made by `make compose-env`. Not for version control.\n" + text)
    print(f"{path} is written.")
    return 0


def land(place: Place, argv: list[str]) -> int:
    """Deliver days of flights into the landing zone, as the source team would. Returns 0."""
    from laptop import aws, landing

    parser = argparse.ArgumentParser(prog="make land")
    parser.add_argument("start", type=date.fromisoformat, help="first day, YYYY-MM-DD")
    parser.add_argument("end", type=date.fromisoformat, help="last day, inclusive")
    days = parser.parse_args(argv)
    if not all(component.running for component in stack.state(place)[:1]):
        raise stack.StackError("The local AWS is not running; start it with `make up`.")
    try:
        files = landing.land(aws.client(place, "s3"), stack.BUCKET, days.start, days.end)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    print("landed " + ", ".join(f"{dataset}: {count} new files" for dataset, count in files.items()))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code. What the user can mend is told in a message, without a traceback."""
    parser = argparse.ArgumentParser(prog="python -m laptop", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "land", "demo", "bench", "compose-env"])
    arguments, rest = parser.parse_known_args(argv)
    # A terminal that closes and a `kill` must stop what runs as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # A Makefile's or a script's background job starts with SIGINT ignored; Ctrl-C and `kill -INT` shall work there,
    # too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        place = Place.from_environment()
        if arguments.command == "demo":
            from laptop import demo

            return demo.main(place, rest)
        if arguments.command == "bench":
            from laptop import bench

            return bench.main(place, rest)
        if arguments.command == "land":
            return land(place, rest)
        if rest:
            parser.error(f"unknown arguments: {' '.join(rest)}")
        commands = {"up": up, "down": down, "status": status, "compose-env": compose_env}
        return commands[arguments.command](place)
    except (stack.StackError, SchemaError, SettingsError, AirflowApiError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
