"""Helpers of the tests that set faults or read the journal."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Faults:
    """The faults of a running local AWS."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint

    def ask(self, method: str, path: str = "", body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Call a page of the faults: status and JSON."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/flywheel/faults{path}", data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
                return error.code, json.loads(text) if text.startswith(b"{") else text.decode()

    def add(self, **rule: Any) -> str:
        """Set a fault; its id."""
        status, told = self.ask("POST", body=rule)
        assert status == 200, told
        return told["id"]

    def see(self, fault_id: str) -> dict[str, Any]:
        """A fault with its hits and what it holds."""
        return next(fault for fault in self.ask("GET")[1]["faults"] if fault["id"] == fault_id)

    def held(self, fault_id: str) -> list[dict[str, Any]]:
        """The calls that a fault holds."""
        return self.see(fault_id)["held"]

    def clear(self) -> None:
        """Remove all faults."""
        assert self.ask("DELETE")[0] == 200


def journal(root: Path) -> list[dict[str, Any]]:
    """All lines of the journal."""
    return [json.loads(line) for line in (root / "journal.jsonl").read_text().splitlines()]


def job_lines(root: Path, name: str) -> list[dict[str, Any]]:
    """The journal's lines of the job of this name."""
    return [line for line in journal(root) if "job" in line and line["name"] == name]
