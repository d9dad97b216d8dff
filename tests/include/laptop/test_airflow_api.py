"""The client against a server that is too busy at first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from laptop.airflow_api import AirflowApi, AirflowApiError


class Busy(BaseHTTPRequestHandler):
    """Refuses the first two requests of each kind but the log-in, as Airflow does when its database is locked."""

    asked: list[str]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(self.command)
        token = self.path == "/auth/token"
        status = 200 if token or self.asked.count(self.command) > 2 else 500
        body = json.dumps({"access_token": "t"} if token else {"detail": "database is locked"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PATCH = do_POST = answer

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def api() -> Iterator[AirflowApi]:
    """A client, logged in."""
    Busy.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = AirflowApi(f"http://127.0.0.1:{server.server_port}", "user", "password")
    client.log_in()
    Busy.asked.clear()
    yield client
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_what_may_be_said_twice_is_said_again(api: AirflowApi, method: str) -> None:
    assert api.request(method, "/dags") == {"detail": "database is locked"}
    assert Busy.asked == [method] * 3


def test_what_would_start_something_twice_is_not(api: AirflowApi) -> None:
    with pytest.raises(AirflowApiError, match="HTTP 500: database is locked"):
        api.request("POST", "/dags/d/dagRuns")
    assert Busy.asked == ["POST"]
