"""Table locks as Redshift has them: writers of one table wait for each other, and a circle of waiting ends with an error.

And what makes transactions serializable: of two that ran at the same time and read each a table that the other wrote, neither can
have been first, so the second to commit may not.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from localaws.redshift.errors import Cancelled, RedshiftError, serializable_violation

#: Committed transactions that are remembered; more do not commit while another runs.
REMEMBERED = 1000


class Owner(Protocol):
    """Who holds locks: a session."""

    @property
    def cancelled(self) -> threading.Event:
        """Set when the session's statement is to stop."""
        ...


class TableLocks:
    """The locks of one database. A lock is held until the owner's transaction ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders: dict[str, Owner] = {}
        self._waits: dict[int, str] = {}  # id of an owner -> the table it waits for
        self._clock = 0
        self._changed_at: dict[str, int] = {}
        self._committed: deque[tuple[int, set[str], set[str]]] = deque(maxlen=REMEMBERED)
        self.order = threading.Lock()  # held by who checks and commits

    def acquire(self, owner: Owner, table: str) -> None:
        """Wait until the owner holds the lock.

        :raises RedshiftError: waiting would never end (deadlock). :raises Cancelled: the owner's statement was cancelled.
        """
        with self._changed:
            while self._holders.get(table, owner) is not owner:
                if self._waits_for(table, owner):
                    raise RedshiftError(f"deadlock detected (waiting for the relation {table})")
                self._waits[id(owner)] = table
                try:
                    self._changed.wait(0.2)
                finally:
                    self._waits.pop(id(owner), None)
                if owner.cancelled.is_set():
                    raise Cancelled()
            self._holders[table] = owner

    def now(self) -> int:
        """The moment, in committed changes: what a transaction that begins now sees."""
        with self._changed:
            return self._clock

    def changed_since(self, table: str, moment: int) -> bool:
        """Whether a transaction that read the table and changed it was committed after the moment."""
        with self._changed:
            return self._changed_at.get(table, 0) > moment

    def check(self, moment: int, read: set[str], written: set[str]) -> None:
        """Look whether a transaction that sees what was committed at a moment can be put into an order with those since.

        :raises RedshiftError: it cannot (1023).
        """
        with self._changed:
            for at, others_read, others_written in reversed(self._committed):
                if at <= moment:
                    return
                if read & others_written and others_read & written:
                    raise serializable_violation(min(read & others_written))

    def record(self, read: set[str], written: set[str]) -> None:
        """Remember a transaction that was committed."""
        with self._changed:
            self._clock += 1
            self._committed.append((self._clock, read, written))

    def release(self, owner: Owner, changed: set[str]) -> None:
        """Let go of everything the owner holds.

        :param changed: the tables that its committed transaction read and changed.
        """
        with self._changed:
            if changed:
                self._clock += 1
                self._changed_at.update(dict.fromkeys(changed, self._clock))
            self._holders = {table: holder for table, holder in self._holders.items() if holder is not owner}
            self._changed.notify_all()

    def _waits_for(self, table: str, owner: Owner) -> bool:
        """Whether whoever holds the table waits, directly or through others, for something of this owner's."""
        seen: set[int] = set()
        while True:
            holder = self._holders.get(table)
            if holder is None:
                return False
            if holder is owner:
                return True
            if id(holder) in seen or id(holder) not in self._waits:
                return False
            seen.add(id(holder))
            table = self._waits[id(holder)]
