"""The local AWS's own Java, compiled when the first worker starts: no compiler comes with the Java runtime that jobs use.

Janino does it, which is among Spark's jars because Spark compiles its queries with it. It takes half a second, so the
classes are kept in a folder that is named after what they were made of.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pyspark

SOURCE = Path(__file__).parent / "ObjectFileSystem.java"
MAIN_CLASS = "localaws.ObjectFileSystem"
"""Is written last: where it is, the classes inside of it are."""

_JAVA_VERSION = 8
"""What Janino writes at most."""


def classes_folder(state: Path) -> Path:
    """Make and give the folder below ``state`` that belongs on a JVM's class path, compiled into or not.

    It has to be there when the JVM starts, which looks into it when it first needs a class of ours.
    """
    made_of = hashlib.sha256(SOURCE.read_bytes() + pyspark.__version__.encode())
    folder = state / f"classes-{made_of.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compile_missing(jvm: Any, folder: Path) -> None:
    """Compile into ``folder`` in a JVM of Spark (py4j's view of it), if nobody has yet.

    Two at once do no harm: each file is put in place whole, and both write the same.
    """
    if _class_file(folder, MAIN_CLASS).exists():
        return
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setTargetVersion(_JAVA_VERSION)
    compiler.cook(SOURCE.name, SOURCE.read_text(encoding="utf-8"))
    classes = {str(name): bytes(code) for name, code in dict(compiler.getBytecodes()).items()}
    for name in sorted(classes, key=lambda name: name == MAIN_CLASS):
        path = _class_file(folder, name)
        path.parent.mkdir(exist_ok=True)
        incoming = path.with_name(f".{path.name}-{os.getpid()}")
        incoming.write_bytes(classes[name])
        os.replace(incoming, path)


def _class_file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('.', '/')}.class"
