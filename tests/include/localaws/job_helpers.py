"""Helpers of the tests that run jobs: put a script into S3, wait for a run, read its log."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 180.0


def put_script(s3: Any, bucket: str, key: str, text: str) -> str:
    """Store a script, dedented, and give its address."""
    s3.put_object(Bucket=bucket, Key=key, Body=textwrap.dedent(text).encode())
    return f"s3://{bucket}/{key}"


def wait_for(look: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    """Call ``look`` until ``done`` accepts what it gives, and give that. Fails the test after some minutes."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        found = look()
        if done(found):
            return found
        assert time.monotonic() < give_up, f"still waiting after {DEADLINE_S:.0f} s; last seen: {found}"
        time.sleep(0.1)


def log_text(logs: Any, group: str, stream: str) -> str:
    """Give a log stream as text."""
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=[stream])
    return "".join(event["message"] + "\n" for page in pages for event in page["events"])
