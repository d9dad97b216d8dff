"""The model of the reliability tests: takes as long for a request as its longest record says."""

from __future__ import annotations

import time


def model_fn(model_dir: str) -> None:
    """There is nothing to load."""


def transform_fn(model: None, data: str | bytes, content_type: str, accept: str) -> tuple[str, str]:
    """A score for each line, the last field of which is its seconds."""
    lines = (data.decode() if isinstance(data, bytes) else data).splitlines()
    time.sleep(max(float(line.rpartition(",")[2]) for line in lines))
    return "\n".join("0.5" for _ in lines), accept
