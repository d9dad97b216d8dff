"""Glue's transforms as classes with ``apply``; each is the method of the same meaning of ``DynamicFrame``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from awsglue.dynamicframe import DynamicFrame


class SelectFields:
    """Keep columns."""

    @staticmethod
    def apply(frame: DynamicFrame, paths: Sequence[str], **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.select_fields``."""
        return frame.select_fields(paths)


class DropFields:
    """Drop columns."""

    @staticmethod
    def apply(frame: DynamicFrame, paths: Sequence[str], **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.drop_fields``."""
        return frame.drop_fields(paths)


class RenameField:
    """Rename a column."""

    @staticmethod
    def apply(frame: DynamicFrame, old_name: str, new_name: str, **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.rename_field``."""
        return frame.rename_field(old_name, new_name)


class ApplyMapping:
    """Select, rename and cast."""

    @staticmethod
    def apply(frame: DynamicFrame, mappings: Sequence[tuple[str, ...]], **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.apply_mapping``."""
        return frame.apply_mapping(mappings)


class Filter:
    """Keep records."""

    @staticmethod
    def apply(frame: DynamicFrame, f: Callable[[Any], bool], **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.filter``."""
        return frame.filter(f)


class Map:
    """Turn records into others."""

    @staticmethod
    def apply(frame: DynamicFrame, f: Callable[[Any], Any], **_: Any) -> DynamicFrame:
        """See ``DynamicFrame.map``."""
        return frame.map(f)
