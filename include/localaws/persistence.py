"""The state of moto's back ends on the disk, so that it survives a restart and a killed server.

Every back end that was used is pickled to ``state/<module>.<name>@<account>@<region>.pickle`` about half a second after
a call changed it, and once more at shutdown; files are replaced atomically. A server that is killed loses at most what
was changed since. Objects of S3 are files of their own and are never lost. A state file is bound to the versions of
moto and Python that wrote it.
"""

from __future__ import annotations

import importlib
import io
import marshal
import os
import pickle
import sys
import threading
import time
import types
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SAVE_DELAY_S = 0.5
"""How long (s) after a change its back end is saved; changes in between are saved together."""

CHEAP_S = 0.005
"""Back ends that take less time than this (s) to save are saved whenever anything changed, others every few seconds:
a call to one service may change another one (an S3 event in a queue)."""

THOROUGH_EVERY_S = 5.0

_state_dir: Path | None = None
_touched: set[str] = set()
_wake = threading.Event()
_saving = threading.Lock()
_saver: threading.Thread | None = None
_ending = threading.Event()
_records: dict[str, _Record] = {}
_waiting: dict[str, Path] = {}
"""Saved states that no back end has taken yet, by name."""
_taking: dict[str, Any] = {}
"""Back ends that are taking their state just now: states of others may name them."""


class StateError(Exception):
    """A saved state cannot be read; the message names the file and says what to do."""


@dataclass
class _Record:
    """What is known of one back end's last save."""

    digest: int = 0
    cost_s: float = 0.0
    saved_at: float = 0.0
    warned: bool = False


def install(root: Path) -> None:
    """Keep the state below ``root/state``."""
    global _state_dir
    _state_dir = root / "state"
    _state_dir.mkdir(parents=True, exist_ok=True)


def touch(*services: str) -> None:
    """Note that the back ends of these services (moto's names: ``"glue"``, ``"sagemaker"``...) changed.

    API calls are noted by the server; call this where a job's own thread changes a state.
    """
    _touched.update(services)
    _wake.set()


def load() -> None:
    """Put the saved state into moto's back ends: at once where their module is imported, else when they are first used.

    Call it once, before the first call is served.

    :raises StateError: a file is damaged, or was written by other versions of moto or Python.
    """
    from moto.core.base_backend import AccountSpecificBackend

    for file in sorted(_directory().glob("*.pickle")):
        _check_file(file)
        _waiting[file.name.removesuffix(".pickle")] = file
    AccountSpecificBackend.__getitem__ = _backend_of_region  # type: ignore[method-assign, assignment]
    for name in list(_waiting):
        if f"moto.{name.split('.')[0]}.models" in sys.modules:
            _backend(*name.split("@"))


def start() -> None:
    """Save in the background from now on, until :func:`finish`."""
    global _saver
    _ending.clear()
    _saver = threading.Thread(target=_save_when_touched, name="state-saver", daemon=True)
    _saver.start()


def finish() -> None:
    """Save everything and end the background thread."""
    _ending.set()
    _wake.set()
    if _saver is not None:
        _saver.join(30.0)
    save(everything=True)


def save(everything: bool = False) -> None:
    """Save what changed (see :data:`CHEAP_S`), or everything, now."""
    with _saving:
        touched = set(_touched)
        _touched.difference_update(touched)
        for service, name, backend in _backends_in_use():
            record = _records.setdefault(name, _Record())
            due = (
                everything
                or service in touched
                or record.cost_s < CHEAP_S
                or time.monotonic() - record.saved_at > THOROUGH_EVERY_S
            )
            if due:
                _save_backend(name, backend, record)


def _save_when_touched() -> None:
    while not _ending.is_set():
        _wake.wait()
        if _ending.wait(SAVE_DELAY_S):
            return
        _wake.clear()
        started = time.monotonic()
        save()
        # A large state must not keep a core busy with saving.
        _ending.wait(min(5.0, 4 * (time.monotonic() - started)))


def _save_backend(name: str, backend: Any, record: _Record) -> None:
    started = time.thread_time()
    try:
        body = _pickled(backend)
        digest = hash(body)
        if digest != record.digest:
            _write_state(name, body)
            record.digest = digest
        record.warned = False
    except Exception as error:  # whatever cannot be pickled, or a full disk: the server goes on, and says so
        if not record.warned:
            record.warned = True
            print(
                f"The state of {name} cannot be saved and would not survive a restart: {type(error).__name__}: {error}",
                file=sys.stderr,
                flush=True,
            )
    record.cost_s = time.thread_time() - started
    record.saved_at = time.monotonic()


def _write_state(name: str, body: bytes) -> None:
    target = _directory() / f"{name}.pickle"
    partial = target.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(pickle.dumps(_versions() | {"crc32": zlib.crc32(body)}))
        stream.write(body)
    os.replace(partial, target)


def _pickled(backend: Any) -> bytes:
    """The pickled state of a back end, taken while other threads may be changing it."""
    for attempt in range(20):
        stream = io.BytesIO()
        try:
            _Pickler(stream, protocol=5).dump(dict(backend.__dict__))
        except RuntimeError:  # "dictionary changed size during iteration": someone changed it just now
            if attempt == 19:
                raise
            time.sleep(0.01)
            continue
        return stream.getvalue()
    raise AssertionError("unreachable")


class _Pickler(pickle.Pickler):
    """Also takes what moto's states hold and pickle refuses: locks, threads, lambdas, other back ends."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _backend_type()):
            # By its name: every back end is saved in a file of its own.
            for _, name, backend in _backends_in_use():
                if backend is obj:
                    return _backend, tuple(name.split("@"))
        if isinstance(obj, _LOCK_TYPES):
            return (threading.RLock if "RLock" in type(obj).__name__ else threading.Lock), ()
        if isinstance(obj, (threading.Thread, threading.Event, threading.Condition)):
            return (_nothing, ()) if isinstance(obj, threading.Thread) else (type(obj), ())
        if type(obj).__module__.startswith("cryptography.") and hasattr(obj, "private_bytes"):
            return _private_key, (_key_bytes(obj),)
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            # Made anew without its own __init__, which may ask for arguments.
            return _default_dict, (type(obj), obj.default_factory), obj.__dict__, None, iter(dict.items(obj))
        if isinstance(obj, types.FunctionType) and "<" in obj.__qualname__:
            cells = tuple(cell.cell_contents for cell in obj.__closure__ or ())
            return _function, (obj.__module__, marshal.dumps(obj.__code__), obj.__defaults__, cells)
        return NotImplemented


_LOCK_TYPES = (type(threading.Lock()), type(threading.RLock()))


@cache
def _backend_type() -> type:
    from moto.core.base_backend import BaseBackend

    return BaseBackend


def _function(module: str, code: bytes, defaults: Any, cells: tuple[Any, ...]) -> types.FunctionType:
    namespace = importlib.import_module(module).__dict__
    closure = tuple(types.CellType(value) for value in cells)
    return types.FunctionType(marshal.loads(code), namespace, "<lambda>", defaults, closure)  # noqa: S302 - our own state files


def _default_dict(kind: type[defaultdict[Any, Any]], factory: Any) -> defaultdict[Any, Any]:
    made = kind.__new__(kind)
    made.default_factory = factory
    return made


def _key_bytes(key: Any) -> bytes:
    """A private key of KMS as bytes (PKCS 8)."""
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)


def _private_key(data: bytes) -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_der_private_key(data, password=None)


def _nothing() -> None:
    return None


def _backends_in_use() -> Iterator[tuple[str, str, Any]]:
    """Of every back end that was used: moto's name of the service, the name of its state, and the back end."""
    from moto.core.base_backend import BackendDict

    for backends in list(BackendDict._instances):
        where = _place(backends)
        if where is None:
            continue
        for account, regions in list(backends.items()):
            for region, backend in list(regions.items()):
                yield where.split(".")[0], f"{where}@{account}@{region}", backend


_places: dict[int, str] = {}


def _place(backends: Any) -> str | None:
    """``"glue.glue_backends"`` for the dictionary of that name in ``moto.glue.models``; None: it is nowhere."""
    if id(backends) not in _places:
        for name, module in list(sys.modules.items()):
            if name.startswith("moto.") and name.endswith(".models"):
                for attribute, value in list(vars(module).items()):
                    if value is backends and attribute.endswith("_backends"):
                        found = f"{name[len('moto.') : -len('.models')]}.{attribute}"
                        # The module that defines it names it after itself; others only import it.
                        if id(backends) not in _places or found.split(".")[0] in attribute:
                            _places[id(backends)] = found
    return _places.get(id(backends))


def _backend(name: str, account: str, region: str) -> Any:
    taking = _taking.get(f"{name}@{account}@{region}")
    if taking is not None:
        return taking
    module, attribute = name.rsplit(".", 1)
    return getattr(importlib.import_module(f"moto.{module}.models"), attribute)[account][region]


def _backend_of_region(backends: Any, region: str) -> Any:
    """moto's ``AccountSpecificBackend.__getitem__``; new back ends take their saved state before anyone sees them.

    :raises KeyError: there is no such region.
    :raises StateError: the saved state cannot be read.
    """
    from moto.core import base_backend

    region = "aws" if region == "global" else region
    if not dict.__contains__(backends, region):  # its own `in` asks whether there is such a region
        with base_backend.backend_lock:
            if not dict.__contains__(backends, region) and (region in backends.regions or base_backend.allow_unknown_region()):
                backend = backends.backend(region, account_id=backends.account_id)
                _take_state(backends, region, backend)
                dict.__setitem__(backends, region, backend)
    return dict.__getitem__(backends, region)


def _take_state(backends: Any, region: str, backend: Any) -> None:
    for name, file in list(_waiting.items()):
        place, account, its_region = name.split("@")
        if (account, its_region) != (backends.account_id, region) or not _is_place(place, backends, account):
            continue
        _taking[name] = backend
        try:
            with file.open("rb") as stream:
                pickle.load(stream)  # noqa: S301 - our own state files, in a folder of the user's
                state = pickle.load(stream)  # noqa: S301 - our own state files, in a folder of the user's
        except Exception as error:
            raise StateError(_damaged(file, f"{type(error).__name__}: {error}")) from error
        finally:
            del _taking[name]
        backend.__dict__.update(state)
        del _waiting[name]


def _is_place(place: str, backends: Any, account: str) -> bool:
    """Whether these back ends are those of the place's dictionary."""
    module, attribute = place.rsplit(".", 1)
    found = vars(sys.modules.get(f"moto.{module}.models", types)).get(attribute)
    return found is not None and dict.get(found, account) is backends


def _check_file(file: Path) -> None:
    """Tell a damaged file, or one of other versions, before anything is served.

    :raises StateError: see :func:`load`.
    """
    try:
        with file.open("rb") as stream:
            header = pickle.load(stream)  # noqa: S301 - our own state files, in a folder of the user's
            body = stream.read()
    except Exception as error:
        raise StateError(_damaged(file, f"{type(error).__name__}: {error}")) from error
    if not isinstance(header, dict) or {name: header.get(name) for name in _versions()} != _versions():
        raise StateError(
            f"{file} was written by {_told(header)}, but this is {_told(_versions())}; start the versions that "
            f"wrote it, or give the state up: remove {file.parent} (S3 objects are kept, they are files)"
        )
    if header.get("crc32") != zlib.crc32(body):
        raise StateError(_damaged(file, "its checksum does not fit"))


def _damaged(file: Path, why: str) -> str:
    return (
        f"{file} cannot be read ({why}); move it away to start without the state of {file.name.split('@')[0]} "
        "(S3 objects are kept, they are files)"
    )


def _directory() -> Path:
    if _state_dir is None:
        raise RuntimeError("localaws.persistence.install(root) must be called first")
    return _state_dir


def _versions() -> dict[str, str]:
    import moto

    return {"moto": moto.__version__, "python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def _told(header: Any) -> str:
    return f"moto {header.get('moto')} on Python {header.get('python')}" if isinstance(header, dict) else "something else"
