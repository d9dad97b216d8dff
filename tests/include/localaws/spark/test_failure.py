"""The sentence that tells why a script failed, out of real endings of stderr."""

from __future__ import annotations

import pytest

from localaws.spark.failure import describe_exit

TRACEBACK = 'Traceback (most recent call last):\n  File "job.py", line 3, in <module>\n    main()\n    ^^^^^^\n'

ENDINGS = {
    "plain": ("UserWarning: something before\n" + TRACEBACK + "ValueError: no rows", "ValueError: no rows"),
    "module path": (
        TRACEBACK + "flywheel.core.errors.ContractError: flights: 2 failures",
        "ContractError: flights: 2 failures",
    ),
    "several lines": (TRACEBACK + "ValueError: 2 failures\n- a\n- b", "ValueError: 2 failures\n- a\n- b"),
    "no message": (TRACEBACK + "KeyboardInterrupt", "KeyboardInterrupt"),
    "syntax error": (
        '  File "job.py", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax',
        "SyntaxError: invalid syntax",
    ),
    "chained": (
        TRACEBACK
        + "KeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\n"
        + TRACEBACK
        + "RuntimeError: outer",
        "RuntimeError: outer",
    ),
    "java": (
        TRACEBACK + "py4j.protocol.Py4JJavaError: An error occurred while calling o41.parquet.\n"
        ": org.apache.spark.SparkException: Job aborted.\n\tat org.apache.spark.sql.X(X.scala:1)\n"
        "Caused by: java.io.IOException: disk full\n\t... 3 more",
        "An error occurred while calling o41.parquet. org.apache.spark.SparkException: Job aborted.",
    ),
    "analysis": (
        TRACEBACK + "pyspark.errors.exceptions.captured.AnalysisException: [UNRESOLVED_COLUMN] A column `x`;\n"
        "'Project ['x]\n+- Range (0, 3)\n",
        "AnalysisException: [UNRESOLVED_COLUMN] A column `x`",
    ),
    "python worker": (
        TRACEBACK
        + "pyspark.errors.exceptions.captured.PythonException: \n  An exception was thrown from the Python worker.\n"
        + TRACEBACK
        + "ValueError: three is bad\n",
        "ValueError: three is bad",
    ),
    "unknown bucket": (
        TRACEBACK + "py4j.protocol.Py4JJavaError: An error occurred while calling o38.parquet.\n"
        ": java.io.IOException: Could not initialize target File System for URI : s3://nobucket/\n\tat x",
        "NoSuchBucket: The specified bucket does not exist: s3://nobucket (buckets must be there when a job starts)",
    ),
    "exit message": ("gone wrong", "SystemExit: 1 (last line on stderr: gone wrong)"),
    "silent": ("", "SystemExit: 1"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_reason(name: str) -> None:
    stderr, reason = ENDINGS[name]
    assert describe_exit(1, stderr.splitlines()) == reason


def test_success_and_signals() -> None:
    assert describe_exit(0, ["ValueError: printed, and caught"]) is None
    assert describe_exit(-9, []) == "the script's process was ended by signal 9 (SIGKILL)"


def test_long_messages_are_cut() -> None:
    reason = describe_exit(1, [*TRACEBACK.splitlines(), "ValueError: " + "x" * 5000])
    assert reason is not None and len(reason) == 1000 and reason.endswith("...")
