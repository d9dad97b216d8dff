"""A local AWS for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

INCLUDE = Path(__file__).resolve().parents[3] / "include"


class LocalAwsProcess:
    """A running local AWS: ``endpoint`` (URL), ``root`` (folder), ``client("glue")``, ``stop()``, ``kill()``."""

    def __init__(self, root: Path, port: int = 0):
        self.root = root
        self.errors: list[str] = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localaws", "serve", "--root", str(root), "--port", str(port)],
            env=environment | {"PYTHONPATH": str(INCLUDE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read_errors, daemon=True).start()
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        found = re.search(r"ready at (http://127\.0\.0\.1:\d+)", ready)
        if not found:
            self.process.wait(10)
            raise RuntimeError(f"the local AWS did not start: {ready}{''.join(self.errors)}")
        self.endpoint = found.group(1)

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client of the service; ``config`` goes to botocore's Config."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(**({"retries": {"max_attempts": 1, "mode": "standard"}} | config)),
        )

    def stop(self) -> int:
        """End it as ``make down`` does (SIGTERM) and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill it (SIGKILL), so that it cannot save anything."""
        self.process.kill()
        self.process.wait(10)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)
            sys.stderr.write(f"[localaws] {line}")
