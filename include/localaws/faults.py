"""Fault injection: strikes calls and jobs as the rules say, so that an outage can be rehearsed.

Rules live in the server's memory only: a server that is started again has none. All methods may be called from any
thread; a call that is held waits in its own, and no other call waits for it.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from localaws.fault_rules import Rule, read_rule

Action = Callable[[], bool]
"""Does something to a running job, such as killing its process. False: it had ended already."""


class NoSuchFault(KeyError):
    """There is no fault of this id."""


class ConnectionDropped(ConnectionAbortedError):
    """The caller gets no answer: its connection is closed. The HTTP server takes it for a client that has left."""


@dataclass
class Held:
    """A call that a rule makes wait."""

    id: str
    operation: str | None
    resource: str | None
    peer_port: int
    when: str
    connection: socket.socket
    refused: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def as_json(self) -> dict[str, Any]:
        """As the list of faults shows it."""
        names = ("id", "operation", "resource", "peer_port", "when")
        return {name: getattr(self, name) for name in names}


@dataclass
class Strike:
    """A rule's strike at one call.

    :param deed: what is to happen, for example ``error``; ``details`` its members.
    :param label: how the journal names it.
    """

    faults: Faults
    rule: Rule
    held: Held

    @property
    def deed(self) -> str:
        """What is to happen: the key of the rule's ``do``."""
        return self.rule.deed

    @property
    def details(self) -> dict[str, Any]:
        """The members of what is to happen."""
        return self.rule.details

    def pauses(self, when: str) -> bool:
        """Whether the call waits ``before`` or ``after`` it is executed."""
        return self.details.get("when") == when

    def pause(self) -> None:
        """Wait until the call is released, its rule is removed, or its time is over.

        :raises ConnectionDropped: it was refused meanwhile, or it waited before being executed and its client has gone.
        """
        self.faults._hold(self.rule, self.held, self.details.get("seconds"))
        if self.held.refused or (self.held.when == "before" and has_gone(self.held.connection)):
            raise ConnectionDropped(self.rule.label)

    def disconnect(self) -> None:
        """Close the connection."""
        try:
            self.held.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was faster


@dataclass
class RunningJob:
    """A job whose process runs, and what can be done to it."""

    kind: str
    name: str
    actions: dict[str, Action]
    since: float = field(default_factory=time.monotonic)
    timers: dict[str, tuple[Rule, threading.Timer]] = field(default_factory=dict)


class Faults:
    """The rules of a server, the calls that they hold, and the jobs that they may strike.

    :param operations: the operations of a service, None for a service that is not there (see :func:`read_rule`).
    """

    def __init__(self, operations: Callable[[str], Collection[str] | None]):
        self.active = False
        """Whether there is any rule: as long as there is none, a call costs no more than this look."""
        self._operations = operations
        self._rules: dict[str, Rule] = {}
        self._held: dict[str, dict[str, Held]] = {}
        self._jobs: dict[str, RunningJob] = {}
        self._struck: dict[str, str] = {}
        self._lock = threading.RLock()
        self._fault_numbers, self._held_numbers = itertools.count(1), itertools.count(1)
        self._closed = False

    # rules

    def add(self, asked: Any) -> str:
        """Take a rule, as its JSON value, and return its id. A rule about jobs is about those, too, that run already.

        :raises BadRule: it cannot be used.
        """
        rule = read_rule("", asked, self._operations)
        with self._lock:
            rule.id = f"f{next(self._fault_numbers)}"
            self._rules[rule.id] = rule
            self._held[rule.id] = {}
            self.active = True
            for job_id, job in self._jobs.items():
                self._aim(rule, job_id, job)
        return rule.id

    def as_json(self) -> list[dict[str, Any]]:
        """All rules with what they have done so far."""
        with self._lock:
            return [
                {"id": rule.id, **rule.told, "hits": rule.hits, "held": [call.as_json() for call in self._held[rule.id].values()]}
                for rule in self._rules.values()
            ]

    def release(self, fault_id: str, refuse: bool = False) -> int:
        """Let go of the calls that a rule holds now, and return how many those are.

        :param refuse: close their connections; those that wait before their execution are not executed.
        :raises NoSuchFault: there is no such rule.
        """
        with self._lock:
            if fault_id not in self._rules:
                raise NoSuchFault(fault_id)
            held = list(self._held[fault_id].values())
            self._held[fault_id].clear()
            for call in held:
                call.refused = refuse
                call.released.set()
            return len(held)

    def remove(self, fault_id: str) -> None:
        """Remove a rule and release what it holds.

        :raises NoSuchFault: there is no such rule.
        """
        with self._lock:
            self.release(fault_id)
            del self._rules[fault_id], self._held[fault_id]
            for job in self._jobs.values():
                if fault_id in job.timers:
                    job.timers.pop(fault_id)[1].cancel()
            self.active = bool(self._rules)

    def remove_all(self) -> None:
        """Remove all rules and release what they hold."""
        with self._lock:
            for fault_id in list(self._rules):
                self.remove(fault_id)

    def close(self) -> None:
        """Because the server ends: close the connections of the calls that are held, and strike no more."""
        with self._lock:
            self._closed = True
            for fault_id in list(self._rules):
                self.release(fault_id, refuse=True)
                self.remove(fault_id)

    # calls

    def strike(
        self,
        service: str,
        operation: str | None,
        resource: str | None,
        text: Callable[[], str],
        peer_port: int,
        connection: socket.socket,
    ) -> Strike | None:
        """What a rule does to this call; None where none does anything. The first rule that strikes is the only one.

        :param text: gives what the rules' ``match`` is looked for in.
        :param peer_port: the TCP port of the caller's end of ``connection``.
        """
        with self._lock:
            for rule in self._rules.values():
                if rule.is_about_call(service, operation, text) and rule.take():
                    rule.hits += 1
                    when = rule.details.get("when", "")
                    return Strike(self, rule, Held("", operation, resource, peer_port, when, connection))
        return None

    def _hold(self, rule: Rule, call: Held, seconds: float | None) -> None:
        with self._lock:
            if self._closed:
                call.refused = True
                return
            if rule.id not in self._rules:
                return
            call.id = f"h{next(self._held_numbers)}"
            self._held[rule.id][call.id] = call
        call.released.wait(seconds)
        with self._lock:
            self._held.get(rule.id, {}).pop(call.id, None)

    # jobs

    def job_runs(self, kind: str, name: str, job_id: str, actions: dict[str, Action]) -> None:
        """Note that a job's process runs from now on; again for a job that was interrupted.

        :param actions: what can be done to it, by the names of :data:`localaws.fault_rules.JOB_DEEDS`.
        """
        with self._lock:
            self._withdraw(job_id)
            if self._closed:
                return
            job = self._jobs[job_id] = RunningJob(kind, name, actions)
            for rule in self._rules.values():
                self._aim(rule, job_id, job)

    def job_ended(self, job_id: str) -> str | None:
        """Note that a job has ended, and return the label of the fault that struck it last; None: none has."""
        with self._lock:
            self._withdraw(job_id)
            return self._struck.pop(job_id, None)

    def _withdraw(self, job_id: str) -> None:
        """Forget a job's process; what was aimed at it may strike another one."""
        job = self._jobs.pop(job_id, None)
        for rule, timer in job.timers.values() if job else ():
            timer.cancel()
            rule.give_back()

    def _aim(self, rule: Rule, job_id: str, job: RunningJob) -> None:
        if rule.deed not in job.actions or not rule.is_about_job(job.kind, job.name) or not rule.take():
            return
        wait_s = max(0.0, job.since + rule.details["after_seconds"] - time.monotonic())
        timer = threading.Timer(wait_s, self._strike_job, (rule, job_id, job))
        timer.daemon = True
        job.timers[rule.id] = rule, timer
        timer.start()

    def _strike_job(self, rule: Rule, job_id: str, job: RunningJob) -> None:
        with self._lock:
            if job.timers.pop(rule.id, None) is None:
                return  # withdrawn, or the rule was removed
            self._struck[job_id] = rule.label
            rule.hits += 1
        if not job.actions[rule.deed]():
            with self._lock:
                rule.hits -= 1
                rule.give_back()
                if self._struck.get(job_id) == rule.label:
                    del self._struck[job_id]


def has_gone(connection: socket.socket) -> bool:
    """Whether the other end of a connection has been closed, even if it has sent more than was read so far."""
    if sys.platform == "linux":
        watch = select.poll()
        watch.register(connection, select.POLLRDHUP)
        return bool(watch.poll(0))
    else:  # macOS: its queue of events tells the end beside what can still be read
        with contextlib.closing(select.kqueue()) as queue:
            asked = select.kevent(connection.fileno(), select.KQ_FILTER_READ, select.KQ_EV_ADD)
            return any(event.flags & select.KQ_EV_EOF for event in queue.control([asked], 1, 0))
