"""S3 for everything in this process: the back end over plain files, and functions for the services that run jobs.

Addresses are ``s3://bucket/key`` URIs. Every function may be called from any thread. Spark and DuckDB may write into
``bucket_dir(bucket)`` directly: a read or a listing through the S3 API sees their files at once, because the index is
compared with the disk before it answers.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moto.s3 import models as s3_models
from moto.s3 import responses as s3_responses
from moto.s3.exceptions import InvalidBucketName, S3ClientError
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from localaws import ACCOUNT_ID, persistence
from localaws.object_files import KeyStore, StoredKey
from localaws.object_index import adopt_aside, adopt_key, adopt_tree, forget_folders
from localaws.object_layout import is_being_written, layout, use_root

BUCKET_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
MAX_KEY_BYTES = 1024


class NoSuchKey(KeyError):
    """There is no object, or no bucket, at an S3 address."""

    def __init__(self, uri: str, why: str = "there is no such object"):
        super().__init__(uri)
        self.uri = uri
        self.why = why

    def __str__(self) -> str:
        return f"{self.uri}: {self.why}"


class ObjectStore(S3Backend):
    """moto's S3 whose objects are files: before it answers it looks at the disk."""

    def create_bucket(self, bucket_name: str, *args: Any, **kwargs: Any) -> FakeBucket:
        """Make the bucket and its folder; files that lie there already are its objects."""
        if not BUCKET_NAME.fullmatch(bucket_name):
            raise InvalidBucketName()
        bucket = super().create_bucket(bucket_name, *args, **kwargs)
        os.makedirs(layout().bucket(bucket_name), exist_ok=True)
        adopt_tree(bucket, "")
        return bucket

    def delete_bucket(self, bucket_name: str) -> FakeBucket | None:
        """Remove an empty bucket with its folder; None where objects lie in it."""
        adopt_tree(self.get_bucket(bucket_name), "")
        bucket = super().delete_bucket(bucket_name)
        if bucket is not None:
            forget_folders(bucket_name)
            shutil.rmtree(layout().bucket(bucket_name), ignore_errors=True)
            shutil.rmtree(os.path.join(layout().aside, bucket_name), ignore_errors=True)
        return bucket

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        """Switch versioning on; it cannot be suspended."""
        if status == "Suspended":
            raise S3ClientError(
                "NotImplemented", "Flywheel's local AWS keeps the versions of a bucket, but cannot suspend versioning"
            )
        super().put_bucket_versioning(bucket_name, status)

    def put_object(self, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> FakeKey:
        """Write an object whole; its key may have at most 1,024 bytes."""
        if len(key_name.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
            raise S3ClientError("KeyTooLongError", f"Your key is too long (at most {MAX_KEY_BYTES} bytes)")
        return super().put_object(bucket_name, key_name, *args, **kwargs)

    def get_object(self, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> FakeKey | None:
        """The key as the disk has it now, or None."""
        adopt_key(self.get_bucket(bucket_name), key_name)
        return super().get_object(bucket_name, key_name, *args, **kwargs)

    def delete_object(self, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> tuple[bool, dict[str, Any]]:
        """Delete the key as the disk has it now."""
        adopt_key(self.get_bucket(bucket_name), key_name)
        return super().delete_object(bucket_name, key_name, *args, **kwargs)

    def list_objects(self, bucket: FakeBucket, prefix: str | None, *args: Any, **kwargs: Any) -> Any:
        """List the keys as the disk has them now."""
        adopt_tree(bucket, prefix or "")
        return super().list_objects(bucket, prefix, *args, **kwargs)

    def list_object_versions(self, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        """List the versions as the disk has them now."""
        adopt_tree(self.get_bucket(bucket_name), "")
        return super().list_object_versions(bucket_name, *args, **kwargs)


# moto finds a back end's URLs in the module beside the class, unless the class names another one.
ObjectStore._url_module = S3Backend._url_module  # type: ignore[method-assign]


def install(root: Path) -> None:
    """Make moto's S3 keep its objects as files below ``root/s3``; call it before the first bucket is made."""
    use_root(root)
    s3_models._VersionedKeyStore = KeyStore  # type: ignore[misc, assignment]
    s3_models.FakeKey = StoredKey  # type: ignore[misc]
    s3_responses.FakeKey = StoredKey  # type: ignore[misc]
    s3_backends.backend = ObjectStore


def recover() -> None:
    """After a start: index the buckets and objects that lie on the disk and that the saved state does not know."""
    store = _store()
    for name in sorted(os.listdir(layout().plain)):
        if name not in store.buckets and BUCKET_NAME.fullmatch(name):
            store.create_bucket(name, "us-east-1")
    for bucket in store.buckets.values():
        os.makedirs(layout().bucket(bucket.name), exist_ok=True)
        s3_backends.bucket_accounts.setdefault(bucket.name, (bucket.partition, bucket.account_id))
        adopt_tree(bucket, "", thorough=True)
        adopt_aside(bucket)
    _remove_leftovers(store)


def bucket_dir(bucket: str) -> Path:
    """The folder whose files are the bucket's objects.

    :raises NoSuchKey: there is no such bucket.
    """
    _bucket(bucket)
    return Path(layout().bucket(bucket))


def split_uri(uri: str) -> tuple[str, str]:
    """``("bucket", "some/key")`` of ``s3://bucket/some/key``; ``s3a://`` and ``s3n://`` are taken too.

    :raises ValueError: the text is no S3 address.
    """
    match = re.fullmatch(r"s3[an]?://([^/]+)/?(.*)", uri, re.DOTALL)
    if not match:
        raise ValueError(f"not an S3 address: {uri!r}; expected s3://bucket/key")
    return match.group(1), match.group(2)


def object_path(uri: str) -> Path:
    """The file that holds the object. Read it at once, and do not write to it.

    :raises NoSuchKey: there is no such object or bucket.
    """
    return Path(_key(uri).path)


def read_object(uri: str) -> bytes:
    """The object's bytes.

    :raises NoSuchKey: there is no such object or bucket.
    """
    return _key(uri).value


def write_object(uri: str, body: bytes | Path) -> None:
    """Write the object whole, as PutObject does: its bytes, or a copy of the file at a ``Path``.

    :raises NoSuchKey: there is no such bucket.
    """
    bucket, key = split_uri(uri)
    _bucket(bucket)
    _store().put_object(bucket, key, body)  # type: ignore[arg-type]
    persistence.touch("s3")


def delete_objects(uris: Iterable[str]) -> None:
    """Delete the objects; one that does not exist is passed over, as S3 does.

    :raises NoSuchKey: there is no such bucket.
    """
    for uri in uris:
        bucket, key = split_uri(uri)
        _bucket(bucket)
        _store().delete_object(bucket, key)
    persistence.touch("s3")


def list_objects(uri_prefix: str) -> list[str]:
    """The URIs, sorted, of all objects whose URI starts with ``uri_prefix`` (a string prefix, as in S3).

    :raises NoSuchKey: there is no such bucket.
    """
    name, prefix = split_uri(uri_prefix)
    bucket = _bucket(name)
    adopt_tree(bucket, prefix)
    keys = [key for key, entry in bucket.keys.items() if key.startswith(prefix) and isinstance(entry, StoredKey)]
    return [f"s3://{name}/{key}" for key in sorted(keys)]


def download_prefix(uri: str, dest_dir: Path) -> list[Path]:
    """Copy all objects under a prefix into ``dest_dir`` as SageMaker's S3Prefix does, and return the files.

    A key's file is named relative to the prefix where that ends a path segment, else relative to the prefix's folder;
    an object that is the prefix itself keeps its base name. Keys ending with ``/`` only make a folder.

    :raises NoSuchKey: there is no such bucket, or no object under the prefix.
    """
    _, prefix = split_uri(uri)
    found = list_objects(uri)
    if not found:
        raise NoSuchKey(uri, "there is no object under this prefix")
    files = []
    for address in found:
        key = split_uri(address)[1]
        folder = prefix if prefix.endswith("/") else prefix.rpartition("/")[0] + "/" * ("/" in prefix)
        if key.startswith(prefix + "/"):
            folder = prefix + "/"
        name = key[len(folder) :] if key.startswith(folder) else key
        target = dest_dir / name
        if not target.resolve().is_relative_to(dest_dir.resolve()):
            raise ValueError(f"{address} would be written outside of {dest_dir}; rename the key")
        if key.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(object_path(address), target)
        files.append(target)
    return files


def upload_tree(src_dir: Path, uri: str) -> list[str]:
    """Write every file below ``src_dir`` to ``uri/<path relative to src_dir>`` and return the URIs, sorted.

    :raises NoSuchKey: there is no such bucket.
    """
    written = []
    for file in sorted(path for path in Path(src_dir).rglob("*") if path.is_file()):
        address = f"{uri.rstrip('/')}/{file.relative_to(src_dir).as_posix()}"
        write_object(address, file)
        written.append(address)
    return written


def adopt_changes(bucket: str) -> None:
    """Register in S3's index what was created, changed or deleted on the disk below ``bucket_dir(bucket)``.

    Reads through the S3 API do this for what they touch; call it after a job so that listings need not look again.
    Not objects: ``*.crc``, ``_temporary``, ``.spark-staging*`` and hidden files.

    :raises NoSuchKey: there is no such bucket.
    """
    adopt_tree(_bucket(bucket), "", thorough=True)
    persistence.touch("s3")


def _store() -> ObjectStore:
    return s3_backends[ACCOUNT_ID]["aws"]  # type: ignore[return-value]


def _bucket(name: str) -> FakeBucket:
    bucket = _store().buckets.get(name)
    if bucket is None:
        raise NoSuchKey(f"s3://{name}", "there is no such bucket")
    return bucket


def _key(uri: str) -> StoredKey:
    name, key = split_uri(uri)
    bucket = _bucket(name)
    adopt_key(bucket, key)
    entry = bucket.keys.current(key)  # type: ignore[attr-defined]
    if entry is None:
        raise NoSuchKey(uri)
    return entry


def _remove_leftovers(store: ObjectStore) -> None:
    """Remove bodies whose upload never came to its end, except what still can: parts of multipart uploads, living Sparks'."""
    kept = {
        part.where
        for bucket in store.buckets.values()
        for upload in bucket.multiparts.values()
        for part in upload.parts.values()
        if isinstance(part, StoredKey)
    }
    for name in os.listdir(layout().incoming):
        path = os.path.join(layout().incoming, name)
        if layout().relative(path) not in kept and not is_being_written(name):
            os.unlink(path)
