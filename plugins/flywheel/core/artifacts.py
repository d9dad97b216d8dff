"""What jobs need of this project on S3, and the version that names it.

Code and artifacts belong together: DAGs ask for the artifacts of exactly their own code, under a prefix named by a hash of
everything in them. A deployment uploads a new prefix and leaves the old ones to the runs that still use them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path

from flywheel.core.contract_files import load_contract

PACKAGE = Path(__file__).resolve().parents[1]
#: A fixed date in archives, so that the same files always give the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def _python_files(folder: Path, below: Path) -> dict[str, Path]:
    return {path.relative_to(below).as_posix(): path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts}


def source_files(include: Path) -> dict[str, Path]:
    """Everything that artifacts are made of, by a name that says where it belongs."""
    return {
        "flywheel/__init__.py": PACKAGE / "__init__.py",
        **_python_files(PACKAGE / "core", below=PACKAGE.parent),
        **_python_files(include / "scripts", below=include),
        **{f"datasets/{path.name}": path for path in sorted((include / "datasets").glob("*.yaml"))},
    }


@lru_cache
def artifacts_version(include: Path) -> str:
    """Hash of all source files: twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for name, path in source_files(include).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def build_artifacts(include: Path) -> dict[str, bytes]:
    """All artifacts by their name below ``artifacts/<version>/``.

    The scripts as they are; for PYTHONPATH ``flywheel_core.zip``, ``scripts/lake.zip`` (how Spark jobs read and write zones) and
    ``scripts/emr/features.zip`` with the feature modules;
    ``<script>.tar.gz`` for each folder of ``scripts/sagemaker`` (script mode, ``flywheel.core`` inside); contracts as JSON.

    :raises SpecError: a contract is wrong
    """
    files = source_files(include)
    core = {name: path for name, path in files.items() if name.startswith("flywheel/")}
    artifacts = {name: path.read_bytes() for name, path in files.items() if name.startswith("scripts/")}
    artifacts["flywheel_core.zip"] = _zip(core)
    artifacts["scripts/lake.zip"] = _zip(_below(files, "scripts/", "lake/"))
    artifacts["scripts/emr/features.zip"] = _zip(_below(files, "scripts/emr/", "features/"))
    for folder in sorted(path for path in (include / "scripts" / "sagemaker").iterdir() if (path / "train.py").is_file()):
        artifacts[f"{folder.name}.tar.gz"] = _tar({**_python_files(folder, below=folder), **core})
    for name, path in files.items():
        if name.startswith("datasets/"):
            contract = json.dumps(load_contract(path).as_dict(), indent=1)
            artifacts[f"datasets/{path.stem}.json"] = contract.encode()
    return artifacts


def _below(files: dict[str, Path], folder: str, package: str) -> dict[str, Path]:
    """The files of a package, named from the folder that it lies in."""
    return {name.removeprefix(folder): path for name, path in files.items() if name.startswith(folder + package)}


def _zip(files: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes())
    return buffer.getvalue()


def _tar(files: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name, path in files.items():
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()
