"""Job arguments, as ``awsglue.utils`` resolves them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

_RESERVED = (
    "job-bookmark-option",
    "job-bookmark-from",
    "job-bookmark-to",
    "JOB_ID",
    "JOB_RUN_ID",
    "SECURITY_CONFIGURATION",
    "encryption-type",
    "enable-data-lineage",
    "RedshiftTempDir",
    "TempDir",
)


class GlueArgumentError(Exception):
    """A job argument that the script asks for is not there, or cannot be read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: Sequence[str], options: Sequence[str]) -> dict[str, Any]:
    """Give the values of the job arguments named in ``options``, and of those that Glue reserves, by name.

    ``args`` is ``sys.argv``. Arguments nobody asked for are passed over. Raises :class:`GlueArgumentError` when one of
    ``options`` is missing. Dashes in a reserved name become underscores in the result, as in Glue.
    """
    for name in options:
        if name in _RESERVED and name not in ("TempDir", "JOB_RUN_ID", "JOB_ID", "RedshiftTempDir"):
            raise GlueArgumentError(f"Using reserved arguments: {name}")
    parser = _Parser(allow_abbrev=False, add_help=False)
    for name in _RESERVED:
        parser.add_argument(f"--{name}", dest=name.replace("-", "_"), required=name in options)
    for name in options:
        if name not in _RESERVED:
            parser.add_argument(f"--{name}", dest=name, required=True)
    known, _ = parser.parse_known_args(_joined(args[1:]))
    return vars(known)


def _joined(args: Sequence[str]) -> list[str]:
    """Join ``--name value`` to ``--name=value``, so that a value may start with dashes."""
    joined: list[str] = []
    words = iter(args)
    for word in words:
        if word.startswith("--") and "=" not in word:
            value = next(words, None)
            joined.append(word if value is None else f"{word}={value}")
        else:
            joined.append(word)
    return joined
