"""The frame of a Glue script: ``Job.init`` at its start, ``Job.commit`` at its end."""

from __future__ import annotations

from typing import Any


class Job:
    """A job's name and arguments. Bookmarks are not kept: with them off, as is Glue's default, ``commit`` has nothing
    to do."""

    def __init__(self, glue_context: Any):
        self._glue_context = glue_context
        self.job_name: str | None = None
        self._initialised = False

    def init(self, job_name: str, args: dict[str, Any] | None = None) -> None:
        """Begin. Raises ``NotImplementedError`` when the job asks for bookmarks."""
        option = (args or {}).get("job_bookmark_option") or "job-bookmark-disable"
        if option != "job-bookmark-disable":
            raise NotImplementedError(f"--job-bookmark-option {option}: the local Glue keeps no bookmarks")
        self.job_name = job_name
        self._initialised = True

    def isInitialized(self) -> bool:
        """Tell whether ``init`` was called."""
        return self._initialised

    def commit(self) -> None:
        """End. Raises ``RuntimeError`` when the job was never initialised."""
        if not self._initialised:
            raise RuntimeError("Job.commit() without Job.init()")
