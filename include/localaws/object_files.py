"""S3's keys and their versions as files: moto keeps metadata, tags and versions, the bytes are only in the files.

A body is written aside first and renamed into place, so a reader never sees half an object; a request that still holds
a key when its file is replaced or removed goes on reading the bytes it was promised.
"""

from __future__ import annotations

import datetime
import os
import shutil
import threading
import uuid
from functools import cache
from typing import Any

from moto.core.utils import utcnow
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, get_canned_acl
from moto.s3.utils import _VersionedKeyStore
from moto.utilities.utils import LowercaseDict, md5_hash

from localaws import ACCOUNT_ID
from localaws.object_layout import file_stamp, layout

TREE_LOCK = threading.RLock()
"""Held for every change of a name in the tree; never while bytes are copied."""

PRIVATE = get_canned_acl("private")
"""Shared by all keys (moto replaces a key's list, never edits it), so that it is pickled once."""


class StoredKey(FakeKey):
    """moto's S3 key whose body is a file: ``where`` is its path below the root, ``stamp`` how it looked when written.

    A body may be given as ``bytes``, or as a ``Path`` whose file is copied.
    """

    where: str
    stamp: tuple[int, int, int]
    _etag: str | None
    disposed: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> StoredKey:
        """Make a key that moto's BaseModel does not keep in its list of all keys ever made."""
        return object.__new__(cls)

    def __init__(self, name: str, value: bytes | str | os.PathLike[str], *args: Any, **kwargs: Any):
        self._superseded: int | None = None
        super().__init__(name, value, *args, **kwargs)  # type: ignore[arg-type]
        del self._value_buffer
        self.acl = PRIVATE

    @classmethod
    def found(cls, bucket: FakeBucket, key: str, path: str) -> StoredKey:
        """A key for the file at ``path`` that something else than the S3 API wrote.

        :raises FileNotFoundError: the file is gone again.
        """
        stamp = file_stamp(path)
        if stamp is None:
            raise FileNotFoundError(path)
        self = cls.__new__(cls)
        versioned = bucket.is_versioned
        version = str(uuid.uuid4()) if versioned else "null"
        FakeKey.__init__(
            self,
            key,
            None,  # type: ignore[arg-type]
            bucket.account_id,
            bucket.region_name,
            bucket_name=bucket.name,
            is_versioned=versioned,
            version_id=version,
        )
        del self._value_buffer
        self._superseded = None
        self.acl = PRIVATE
        self.where = layout().relative(path)
        self.stamp = stamp
        self.contentsize = stamp[0]
        modified = datetime.datetime.fromtimestamp(self.stamp[1] / 1e9, datetime.UTC)
        self.last_modified = modified.replace(tzinfo=None)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the body is the plain file ``s3/<bucket>/<key>``."""
        return self.where.startswith("s3/")

    @property
    def path(self) -> str:
        """Where the body lies now."""
        return layout().absolute(self.where)

    @property
    def value(self) -> bytes:  # type: ignore[override]
        """The body's bytes, whole; given a value, the body is written to a file of its own."""
        with TREE_LOCK:
            if self._superseded is not None:
                handle = os.dup(self._superseded)
            else:
                handle = os.open(self.path, os.O_RDONLY)
        with open(handle, "rb") as body:
            body.seek(0)
            return body.read()

    @value.setter
    def value(self, new_value: bytes | str | os.PathLike[str] | None) -> None:
        if new_value is None:
            return  # the file is there already: see `found`
        path = os.path.join(layout().incoming, uuid.uuid4().hex)
        if isinstance(new_value, os.PathLike):
            shutil.copyfile(new_value, path)
        else:
            with open(path, "wb", buffering=0) as body:
                body.write(new_value.encode() if isinstance(new_value, str) else new_value)
        self.where = layout().relative(path)
        status = os.stat(path)
        self.stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.contentsize = status.st_size

    @property
    def etag(self) -> str:
        """The MD5 of the body in hexadecimal, quoted; read from the file when it is first asked for."""
        if self._etag is None:
            digest = md5_hash()
            with open(self.path, "rb") as body:
                while block := body.read(4 * 1024 * 1024):
                    digest.update(block)
            self._etag = digest.hexdigest()
        return f'"{self._etag}"'

    def move(self, path: str) -> None:
        """Rename the body's file to ``path``; the caller holds ``TREE_LOCK``."""
        os.replace(self.path, path)
        self.where = layout().relative(path)

    def supersede(self) -> None:
        """Keep the body readable for a request that still holds this key while its file is about to go."""
        if self._superseded is None:
            try:
                self._superseded = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                pass

    def dispose(self, garbage: bool = False) -> None:
        """Remove the body's file; the plain file only as long as it is still this key's."""
        if self.disposed:
            return
        self.disposed = True
        with TREE_LOCK:
            self.supersede()
            if file_stamp(self.path) == self.stamp:
                os.unlink(self.path)

    def __del__(self) -> None:
        # Garbage collection must not remove a file: it ends only the use of one that is gone.
        if getattr(self, "_superseded", None) is not None:
            os.close(self._superseded)  # type: ignore[arg-type]
            self._superseded = None

    def __getstate__(self) -> dict[str, Any]:
        # Most of a key is as usual, and a bucket may have many: only what is not is saved.
        usual = _usual_state()
        state = {
            name: value
            for name, value in self.__dict__.items()
            if name not in _NOT_SAVED and (name not in usual or value != usual[name])
        }
        if self._metadata != _USUAL_METADATA:
            state["_metadata"] = dict(self._metadata)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_usual_state())
        self.__dict__.update(state)
        self._metadata = LowercaseDict(state.get("_metadata", _USUAL_METADATA))
        self._superseded = None
        self._time_progressed = utcnow()
        self.lock = threading.Lock()


_NOT_SAVED = {"_superseded", "_time_progressed", "lock", "_metadata"}
_USUAL_METADATA = {"content-type": "binary/octet-stream"}


@cache
def _usual_state() -> dict[str, Any]:
    """The attributes that a key has when nothing was said about them."""
    key: StoredKey = StoredKey.__new__(StoredKey)
    FakeKey.__init__(key, "", None, ACCOUNT_ID, "aws", version_id="null")  # type: ignore[arg-type]
    key.acl = PRIVATE
    own = {"name", "bucket_name", "last_modified", "_value_buffer", *_NOT_SAVED}
    return {name: value for name, value in key.__dict__.items() if name not in own}


class KeyStore(_VersionedKeyStore):
    """A bucket's index that keeps the files in step: the newest version is the plain file, all others lie aside."""

    def __reduce__(self) -> tuple[Any, ...]:
        # As a dictionary it would be pickled without the older versions, and its files published again when read.
        names: list[str] = list(dict.keys(self))
        return _key_store, ({name: list(dict.__getitem__(self, name)) for name in names},)

    def __setitem__(self, key: str, value: StoredKey | FakeDeleteMarker) -> None:
        self.setlist(key, [*self.getlist(key, []), value])

    def setlist(self, key: Any, list_: Any) -> None:
        """Replace the versions of ``key`` (oldest first), and publish the newest one under the key's name."""
        versions = list(list_) if isinstance(list_, (list, tuple)) else [list_]
        with TREE_LOCK:
            previous = [entry for entry in self.getlist(key, []) if isinstance(entry, StoredKey)]
            newest = versions[-1] if versions and isinstance(versions[-1], StoredKey) else None
            for entry in previous:
                if entry is newest:
                    continue
                if entry in versions:
                    _lay_aside(entry)
                elif newest is not None and entry.where == _plain_place(newest):
                    entry.supersede()  # the newest version's file is about to take its name
                    entry.disposed = True
                else:
                    entry.dispose()
            if newest is not None:
                self._publish(newest)
            elif previous:
                _prune(previous[-1])
            dict.__setitem__(self, key, versions)

    def pop(self, key: str) -> None:  # type: ignore[override]
        """Remove the key with all its versions.

        :raises KeyError: there is no such key.
        """
        with TREE_LOCK:
            versions = self.getlist(key, [])
            for entry in versions:
                if isinstance(entry, StoredKey):
                    entry.dispose()
            dict.pop(self, key)
            for entry in versions:
                if isinstance(entry, StoredKey):
                    _prune(entry)

    def current(self, key: str) -> StoredKey | None:
        """The key's newest version, or None where there is none or it is deleted."""
        entry = self.get(key)
        return entry if isinstance(entry, StoredKey) else None

    def adopt(self, key: str, found: StoredKey | None) -> None:
        """Take the plain file ``found`` as the newest version, for the one that it overwrote; None: it was deleted."""
        with TREE_LOCK:
            versions = self.getlist(key, [])
            kept = [entry for entry in versions if not (isinstance(entry, StoredKey) and entry.is_plain)]
            if found is not None:
                self.setlist(key, [*kept, found])
            elif kept and len(kept) < len(versions):
                self.setlist(key, [*kept, FakeDeleteMarker(key=versions[-1])])
            elif not kept:
                dict.pop(self, key, None)

    def _publish(self, entry: StoredKey) -> None:
        bucket, key = str(entry.bucket_name), entry.name
        path = layout().plain_path(bucket, key)
        if path is None:
            if key.endswith("/") and layout().plain_path(bucket, key.rstrip("/")):
                _make_folder(self, bucket, key.rstrip("/"))
            _lay_aside(entry)
            return
        if entry.where == layout().relative(path):
            return
        _make_folder(self, bucket, key.rpartition("/")[0])
        try:
            entry.move(path)
        except IsADirectoryError:
            _remove_empty_folders(path)
            if os.path.isdir(path):
                _lay_aside(entry)
            else:
                entry.move(path)


def _key_store(versions: dict[str, list[Any]]) -> KeyStore:
    store = KeyStore()
    dict.update(store, versions)
    return store


def _plain_place(entry: StoredKey) -> str | None:
    path = layout().plain_path(str(entry.bucket_name), entry.name)
    return None if path is None else layout().relative(path)


def _lay_aside(entry: StoredKey) -> None:
    if not entry.where.startswith("s3-aside/"):
        folder = layout().aside_folder(str(entry.bucket_name), entry.name)
        entry.move(os.path.join(folder, f"body-{uuid.uuid4().hex}"))


def _make_folder(store: KeyStore, bucket: str, folder: str) -> None:
    """Make the folder of a key; an object that lies where a folder must be goes aside."""
    path = os.path.join(layout().bucket(bucket), folder) if folder else layout().bucket(bucket)
    try:
        os.makedirs(path, exist_ok=True)
        return
    except (FileExistsError, NotADirectoryError):
        pass
    segments = folder.split("/")
    for depth in range(1, len(segments) + 1):
        key = "/".join(segments[:depth])
        blocking = os.path.join(layout().bucket(bucket), key)
        if os.path.isfile(blocking):
            entry = store.current(key)
            if entry is None:
                raise FileExistsError(f"{blocking} is a file that is no object of bucket {bucket}; move it away")
            _lay_aside(entry)
            break
    os.makedirs(path, exist_ok=True)


def _remove_empty_folders(path: str) -> None:
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            pass  # not empty: objects lie in it


def _prune(entry: StoredKey) -> None:
    """Remove what a removed key leaves empty: S3 has no folders."""
    bucket = str(entry.bucket_name)
    if entry.where.startswith("s3-aside/"):
        folder = os.path.dirname(entry.path)
        if os.path.isdir(folder) and os.listdir(folder) == ["key"]:
            shutil.rmtree(folder)
    folder = layout().plain_path(bucket, entry.name.rstrip("/")) or ""
    if not entry.name.endswith("/"):
        folder = os.path.dirname(folder)
    while len(folder) > len(layout().bucket(bucket)):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)
