"""Run the local AWS: ``python -m localaws serve --root DIR --port 5005``, and set its faults: ``... faults --help``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from localaws import faults_command


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Exit codes: 0 stopped, 2 cannot start (the reason is on stderr), 130 Ctrl-C
    before it was ready. Or do what :mod:`localaws.faults_command` says.
    """
    parser = argparse.ArgumentParser(prog="python -m localaws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the local AWS on 127.0.0.1")
    serve.add_argument("--root", type=Path, required=True, help="folder of its whole state; made where it does not exist")
    serve.add_argument("--port", type=int, default=5005, help="port on 127.0.0.1 (default 5005; 0: any free one)")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; another only inside a container: who can call starts jobs"
    )
    faults_command.add_parser(commands)
    options = parser.parse_args(arguments)
    if options.command == "faults":
        return faults_command.run(options)
    if not 0 <= options.port <= 65535:
        parser.error(f"--port must be between 0 and 65535, got {options.port}")

    try:
        from localaws.server import CannotStart, serve_until_stopped

        serve_until_stopped(options.root, options.port, options.host)
    except KeyboardInterrupt:
        return 130  # Ctrl-C before it was ready: there is nothing to save yet
    except CannotStart as reason:
        print(f"The local AWS cannot start: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is saved and closed; taking an interpreter of this size apart would take longer than all of that.
    os._exit(code)
