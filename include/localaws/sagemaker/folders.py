"""Folders of a running job that are kept the same as an S3 prefix: checkpoints, and outputs uploaded continuously."""

from __future__ import annotations

import time
from pathlib import Path

from localaws import objects

SYNC_EVERY_S = 1.0
SETTLED_S = 0.2


class SyncedFolder:
    """A folder whose new and changed files are uploaded while a job runs. Files removed from it stay in S3, as on AWS.

    :param uri: the S3 prefix, with or without a slash at its end
    """

    def __init__(self, folder: Path, uri: str):
        self.folder, self.uri = folder, uri.rstrip("/")
        self._uploaded: dict[str, tuple[int, int]] = {}
        self._synced_at = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(self) -> list[Path]:
        """Brings what is below the prefix already, such as the checkpoints of an interrupted job."""
        if not objects.list_objects(f"{self.uri}/"):
            return []
        files = objects.download_prefix(f"{self.uri}/", self.folder)
        self._uploaded = {self._name(file): self._stamp(file) for file in files}
        return files

    def sync_now_and_then(self) -> None:
        """Uploads changes about once a second; called more often than that it does nothing."""
        if time.monotonic() - self._synced_at >= SYNC_EVERY_S:
            self.sync(settled_only=True)
            self._synced_at = time.monotonic()

    def sync(self, *, settled_only: bool = False) -> None:
        """Uploads what is new or changed.

        :param settled_only: leave out files written to within the last moments, which may be half written
        """
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            try:
                name, stamp = self._name(file), self._stamp(file)
                unsettled = time.time_ns() - stamp[0] < SETTLED_S * 1e9
                if self._uploaded.get(name) == stamp or (settled_only and unsettled):
                    continue
                objects.write_object(f"{self.uri}/{name}", file)
                self._uploaded[name] = stamp
            except FileNotFoundError:
                continue  # the script replaced or removed it meanwhile; the next round sees what is there then

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    @staticmethod
    def _stamp(file: Path) -> tuple[int, int]:
        stat = file.stat()
        return stat.st_mtime_ns, stat.st_size
