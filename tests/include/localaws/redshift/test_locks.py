"""Table locks."""

from __future__ import annotations

import threading

from localaws.redshift.locks import TableLocks


class Owner:
    def __init__(self):
        self.cancelled = threading.Event()


def test_changes_are_seen_by_those_who_began_before_them():
    locks, owner = TableLocks(), Owner()
    before = locks.now()
    locks.acquire(owner, "t")
    locks.release(owner, {"t"})
    assert locks.changed_since("t", before)
    assert not locks.changed_since("t", locks.now())
    assert not locks.changed_since("u", before)


def test_a_lock_is_had_again_by_its_owner():
    locks, owner, other = TableLocks(), Owner(), Owner()
    locks.acquire(owner, "t")
    locks.acquire(owner, "t")
    locks.release(owner, set())
    locks.acquire(other, "t")
