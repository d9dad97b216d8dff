"""The command line of fault injection: sets, lists and clears the faults of the local AWS that runs."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import Any

HELP = """\
set, list and clear faults of the local AWS that runs, to rehearse an outage

A rule about calls:  '{"service": "sagemaker", "operation": "Create.*", "do": {"error": {"code": "ThrottlingException"}}}'
A rule about jobs:   '{"job": "training", "match": "^train-", "do": {"kill": {"after_seconds": 2}}}'

Of calls, do may be error or error_after (code, message, status), refuse or lose (true), delay (seconds, when) or hold
(when); of jobs, kill or, for managed spot training, interrupt (after_seconds). A rule strikes once; "times": 3, "times":
null or "seconds": 60 change that, "skip": 2 lets so many pass first, "match" is a regular expression for the call's
parameters as JSON (S3: its path), or for the job's name. A fault lasts until it is cleared or the local AWS ends.
"""


class Failed(Exception):
    """The local AWS cannot be asked, or refuses; the message says why."""


def add_parser(commands: Any) -> None:
    """Add the command ``faults`` to those of ``python -m localaws``."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--port", type=int, default=5005, help="port of the local AWS on 127.0.0.1 (default 5005)")
    parser = commands.add_parser(
        "faults", help=HELP.partition("\n")[0], description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", parents=[where], help="set a fault, and print its id")
    add.add_argument("rule", help="the rule as JSON")
    actions.add_parser("list", parents=[where], help="list the faults, and what they have struck so far")
    clear = actions.add_parser("clear", parents=[where], help="clear the faults, and let go of what they hold")
    clear.add_argument("id", nargs="?", help="the id of the one to clear (default: all)")


def run(options: argparse.Namespace) -> int:
    """Do what is asked. Exit codes: 0 done, 1 the local AWS refused it or does not answer (the reason is on stderr)."""
    try:
        if options.action == "add":
            print(_ask(options.port, "POST", "", options.rule)["id"])
        elif options.action == "list":
            found = _ask(options.port, "GET")["faults"]
            print("\n".join(map(_line, found)) if found else "There are no faults.")
        else:
            _ask(options.port, "DELETE", f"/{options.id}" if options.id else "")
    except Failed as why:
        print(why, file=sys.stderr)
        return 1
    return 0


def _line(fault: dict[str, Any]) -> str:
    about = fault.get("job") or f"{fault['service']}:{fault['operation']}"
    match = f" matching {fault['match']!r}" if fault["match"] else ""
    limit = f" of {fault['times']}" if fault["times"] is not None else ""
    held = f", holds {len(fault['held'])}" if fault["held"] else ""
    return f"{fault['id']}  {about}{match}  {json.dumps(fault['do'])}  struck {fault['hits']}{limit}{held}"


def _ask(port: int, method: str, path: str = "", body: str | None = None) -> Any:
    address = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(
        f"{address}/flywheel/faults{path}", method=method, data=body.encode() if body is not None else None
    )
    try:
        # No proxy of the environment may come between.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            why = json.load(error)["error"]
        except (ValueError, KeyError, TypeError):
            why = f"{address} answers {error.code} and is no local AWS with faults"
        raise Failed(why) from error
    except (OSError, ValueError) as error:
        raise Failed(f"no local AWS answers at {address} ({error}); start it with `make up`, or give its --port") from error
