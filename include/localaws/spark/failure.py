"""Why a Python script failed: the sentence that Glue and EMR Serverless show, taken from the end of its stderr."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

_EXCEPTION = re.compile(r"^(?P<path>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_NAME_OF_EXCEPTION = re.compile(r"(Error|Exception|Interrupt|Exit|Warning|Fault|Failure|Timeout)$")
# What Hadoop's mount table says of a bucket that it was not told about.
_UNKNOWN_BUCKET = re.compile(
    r"Could not initialize target File System for URI : (?P<address>s3\w?://[^/\s]+)"
    r"|Class org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem not found"
)
# Where an exception's message ends and Spark's own stack or query plan starts.
_END_OF_MESSAGE = re.compile(
    r"^(\tat |\s*at org\.|\s*at java\.|Driver stacktrace:|Traceback |JVM stacktrace:|'[A-Z]\w+ |\+- |:- )"
)


def describe_exit(exit_code: int, stderr: Sequence[str]) -> str | None:
    """Say in one sentence why a script ended with ``exit_code``; None for exit code 0. ``stderr`` is its last lines."""
    if exit_code == 0:
        return None
    if exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = "unknown"
        return f"the script's process was ended by signal {-exit_code} ({name})"
    found = last_exception(stderr)
    if found:
        return found
    last = next((line.strip() for line in reversed(stderr) if line.strip()), None)
    return f"SystemExit: {exit_code}" + (f" (last line on stderr: {last})" if last else "")


def last_exception(stderr: Sequence[str], limit: int = 1000) -> str | None:
    """Give the last exception in ``stderr`` (its lines, without line ends) as ``ClassName: message``, None for none.

    Spark's ``Py4JJavaError`` is replaced by the Java exception that it carries, as Glue does. The message keeps its
    further lines as far as the script wrote them, without stack traces, cut to ``limit`` characters.
    """
    start = _start_of_last_exception(stderr)
    if start is None:
        return None
    path, _, message = stderr[start].partition(": ")
    name = path.rpartition(".")[2]
    lines = [message]
    for line in stderr[start + 1 :]:
        if _END_OF_MESSAGE.match(line):
            break
        lines.append(line)
    message = "\n".join(lines).strip().removesuffix(";")
    bucket = _UNKNOWN_BUCKET.search(message)
    if bucket:
        where = bucket["address"] or "in an s3a:// path"
        return f"NoSuchBucket: The specified bucket does not exist: {where} (buckets must be there when a job starts)"
    if name == "Py4JJavaError":
        text = re.sub(r"\n: ", " ", message, count=1)
    else:
        text = f"{name}: {message}" if message else name
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _start_of_last_exception(stderr: Sequence[str]) -> int | None:
    """Find the line that names the last exception: the first unindented one after the last traceback's frames."""
    for position in range(len(stderr) - 1, -1, -1):
        if not stderr[position].startswith(("Traceback (most recent call last):", '  File "')):
            continue
        for after in range(position + 1, len(stderr)):
            line = stderr[after]
            if line and not line.startswith(" ") and _EXCEPTION.match(line):
                return after
        return None
    for position in range(len(stderr) - 1, -1, -1):
        found = _EXCEPTION.match(stderr[position])
        if found and _NAME_OF_EXCEPTION.search(found["path"]):
            return position
    return None
