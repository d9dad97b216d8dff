"""Errors that tell the reader what, where, expected and found."""

from __future__ import annotations


class SpecError(ValueError):
    """A spec or contract file holds something that Flywheel cannot use.

    :param source: the file (or other origin) that holds the value
    :param key: dotted path of the key inside the file, e.g. ``training.compute.instance_count``
    :param expected: what would have been right, in words
    :param found: the value found
    """

    def __init__(self, source: str, key: str, expected: str, found: object):
        self.source, self.key, self.expected, self.found = source, key, expected, found
        super().__init__(f"{source}: {key}: expected {expected}, found {found!r}")


class WindowError(ValueError):
    """A run was asked for dates that make no sense (start after end, not a date, no date to be had)."""
