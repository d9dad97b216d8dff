"""Rules of fault injection: what a rule may say, which calls and jobs it is about, and how often it strikes.

A rule about calls names a service and an operation, a rule about jobs a kind of job; ``do`` says what happens to them.
:data:`CALL_DEEDS` and :data:`JOB_DEEDS` list what can happen.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

JOBS = ("glue", "emr_serverless", "redshift_data", "training", "processing", "transform")
"""The kinds of job that a rule may be about."""

Members = dict[str, type]
_ERROR: Members = {"code": str, "message": str, "status": int}
_PAUSE: Members = {"when": str}
_TIMED: Members = {"after_seconds": float}
CALL_DEEDS: dict[str, Members | None] = {
    "error": _ERROR,
    "error_after": _ERROR,
    "refuse": None,
    "lose": None,
    "delay": _PAUSE | {"seconds": float},
    "hold": _PAUSE,
}
"""What can happen to a call, and the members of each; None: its value is ``true``."""

JOB_DEEDS: dict[str, Members | None] = {"kill": _TIMED, "interrupt": _TIMED}
"""What can happen to a job."""

_DEFAULTS: dict[str, Any] = {"message": "", "status": 400, "when": "before", "after_seconds": 0.0}
_NAMES: dict[type, str] = {str: "a string", int: "an integer", float: "a number of seconds", dict: "an object"}


class BadRule(ValueError):
    """A rule that cannot be used; the message names the field, what was expected there and what was found."""


@dataclass
class Rule:
    """A rule and what became of it so far.

    :param told: the rule as it was given, completed by the defaults.
    :param deed: the one key of ``do``, for example ``hold``; ``details`` is its value.
    :param service: the service whose calls it is about; None for a rule about jobs.
    :param job: the kind of job that it is about; None for a rule about calls.
    :param hits: how many calls or jobs it has struck.
    """

    id: str
    told: dict[str, Any]
    deed: str
    details: dict[str, Any]
    service: str | None = None
    operation: re.Pattern[str] | None = None
    job: str | None = None
    match: re.Pattern[str] | None = None
    skip: int = 0
    times: int | None = 1
    seconds: float | None = None
    hits: int = 0
    _passed: int = field(default=0, repr=False)
    _taken: int = field(default=0, repr=False)
    _over_at: float | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """How the journal names it: ``"f1: hold"``."""
        return f"{self.id}: {self.deed}"

    def is_about_call(self, service: str, operation: str | None, text: Callable[[], str]) -> bool:
        """Whether it is about such a call.

        :param text: gives what ``match`` is looked for in; called only where everything else fits.
        """
        return (
            self.service == service
            and operation is not None
            and self.operation is not None
            and self.operation.fullmatch(operation) is not None
            and (self.match is None or self.match.search(text()) is not None)
        )

    def is_about_job(self, job: str, name: str) -> bool:
        """Whether it is about a job of this kind and name."""
        return self.job == job and (self.match is None or self.match.search(name) is not None)

    def take(self) -> bool:
        """Count one more of what it is about; whether this one is to be struck."""
        now = time.monotonic()
        if (self.times is not None and self._taken >= self.times) or (self._over_at is not None and now >= self._over_at):
            return False
        if self._passed < self.skip:
            self._passed += 1
            return False
        self._taken += 1
        if self.seconds is not None and self._over_at is None:
            self._over_at = now + self.seconds
        return True

    def give_back(self) -> None:
        """Count the last one not at all: it had ended before it could be struck."""
        self._taken -= 1


def read_rule(rule_id: str, asked: Any, operations: Callable[[str], Collection[str] | None]) -> Rule:
    """Read a rule from its JSON value.

    :param operations: the operations of a service, None for a service that is not there: a rule that could never strike
        is a mistake.
    :raises BadRule: it cannot be used.
    """
    if not isinstance(asked, dict):
        raise BadRule(f"the rule: expected an object, found {_shown(asked)}")
    about_jobs = "job" in asked
    known = {"job", "match", "skip", "times", "seconds", "do"} if about_jobs else {
        "service", "operation", "match", "skip", "times", "seconds", "do",
    }  # fmt: skip
    for name in asked:
        if name not in known:
            raise BadRule(f"{name}: expected one of {', '.join(sorted(known))}")
    deed, details = _read_deed(asked.get("do"), JOB_DEEDS if about_jobs else CALL_DEEDS)
    rule = Rule(rule_id, {}, deed, details, match=_pattern("match", asked.get("match")))
    rule.skip = _count("skip", asked.get("skip", 0), 0)
    seconds = asked.get("seconds")
    rule.seconds = None if seconds is None else _read("seconds", seconds, float)
    times = asked.get("times", 1 if rule.seconds is None else None)
    if rule.seconds is not None and times is not None:
        raise BadRule(f"times: expected null where seconds are given, found {_shown(times)}")
    rule.times = None if times is None else _count("times", times, 1)
    if about_jobs:
        rule.job = asked["job"]
        if rule.job not in JOBS:
            raise BadRule(f"job: expected one of {', '.join(JOBS)}, found {_shown(rule.job)}")
        if deed == "interrupt" and rule.job != "training":
            raise BadRule(f"do.interrupt: expected job training (managed spot training), found {_shown(rule.job)}")
        about: dict[str, Any] = {"job": rule.job}
    else:
        rule.service, rule.operation = _read_operation(asked, operations)
        about = {"service": rule.service, "operation": asked["operation"]}
    counts = {"skip": rule.skip, "times": rule.times, "seconds": rule.seconds}
    rule.told = about | {"match": asked.get("match")} | counts | {"do": {deed: details or True}}
    return rule


def _read_operation(asked: Mapping[str, Any], operations: Callable[[str], Collection[str] | None]) -> tuple[str, re.Pattern[str]]:
    service = _read("service", asked.get("service"), str)
    names = operations(service)
    if names is None:
        raise BadRule(f"service: expected botocore's name of a service, as in the journal, found {_shown(service)}")
    operation = _pattern("operation", _read("operation", asked.get("operation"), str))
    assert operation is not None
    if not any(operation.fullmatch(name) for name in names):
        raise BadRule(f"operation: expected a regular expression for operations of {service}, found {_shown(asked['operation'])}")
    return service, operation


def _read_deed(do: Any, deeds: Mapping[str, Members | None]) -> tuple[str, dict[str, Any]]:
    if not isinstance(do, dict) or len(do) != 1 or next(iter(do)) not in deeds:
        raise BadRule(f"do: expected an object with one of {', '.join(deeds)}, found {_shown(do)}")
    ((deed, value),) = do.items()
    members = deeds[deed]
    if members is None:
        if value is not True:
            raise BadRule(f"do.{deed}: expected true, found {_shown(value)}")
        return deed, {}
    if not isinstance(value, dict):
        raise BadRule(f"do.{deed}: expected an object with {', '.join(members)}, found {_shown(value)}")
    for name in value:
        if name not in members:
            raise BadRule(f"do.{deed}.{name}: expected one of {', '.join(members)}")
    defaults = {name: _DEFAULTS[name] for name in members if name in _DEFAULTS}
    details = {name: _read(f"do.{deed}.{name}", (defaults | value).get(name), kind) for name, kind in members.items()}
    if details.get("when", "before") not in ("before", "after"):
        raise BadRule(f"do.{deed}.when: expected before or after, found {_shown(details['when'])}")
    if "status" in details and not 400 <= details["status"] <= 599:
        raise BadRule(f"do.{deed}.status: expected an HTTP status from 400 to 599, found {details['status']}")
    return deed, details


def _read(name: str, value: Any, kind: type) -> Any:
    right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not right or (kind is float and value < 0):
        raise BadRule(f"{name}: expected {_NAMES[kind]}, found {_shown(value)}")
    return value


def _count(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadRule(f"{name}: expected an integer from {least} on, found {_shown(value)}")
    return value


def _pattern(name: str, text: Any) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(_read(name, text, str))
    except re.error as error:
        raise BadRule(f"{name}: expected a regular expression, found {_shown(text)} ({error})") from error


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:200]
