"""Imports run one way: ``dags -> flywheel.{operators, ...} -> flywheel.core <- include/scripts``; the rest of the house rules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS, INCLUDE = ROOT / "plugins" / "flywheel", ROOT / "include"
#: What no file of a folder may import, by the first names of modules.
FORBIDDEN = {
    ROOT / "dags": {"boto3", "botocore", "include", "localaws", "laptop", "pandas", "scipy", "numpy", "dags",
                    "ingest", "load_features", "train", "score", "monitor"},
    PLUGINS / "core": {"airflow", "boto3", "botocore", "localaws", "laptop", "include"},
    PLUGINS: {"localaws", "laptop", "include", "dags"},
    INCLUDE / "scripts": {"airflow", "localaws", "laptop", "include"},
    INCLUDE / "infra": {"airflow", "localaws", "laptop"},
    INCLUDE / "localaws": {"airflow", "flywheel", "laptop", "simulate"},
    INCLUDE / "laptop": {"airflow", "localaws", "simulate"},
    INCLUDE / "simulate": {"airflow"},
}  # fmt: skip
FILES = [
    (folder, path)
    for folder in FORBIDDEN
    for path in sorted(folder.rglob("*.py"))
    if "shim" not in path.parts and "__pycache__" not in path.parts
]


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def test_there_is_something_to_check() -> None:
    assert {folder for folder, _ in FILES} == set(FORBIDDEN)


@pytest.mark.parametrize(("folder", "path"), FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(folder: Path, path: Path) -> None:
    wrong = sorted(name for name in imported(path) if name.split(".")[0] in FORBIDDEN[folder])
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}, which {folder.relative_to(ROOT)} may not"


@pytest.mark.parametrize("path", sorted((INCLUDE / "scripts").rglob("*.py")), ids=lambda p: p.name)
def test_jobs_take_only_the_core_of_flywheel(path: Path) -> None:
    wrong = sorted(
        n for n in imported(path) if n.split(".")[0] == "flywheel" and n != "flywheel" and not n.startswith("flywheel.core")
    )
    assert not wrong


@pytest.mark.parametrize("folder", ["dags", "plugins", "include/scripts"])
def test_nothing_asks_in_which_world_it_is(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8").lower()
        for word in ("is_local", "localaws", "localhost", "127.0.0.1", "moto"):
            assert word not in text.replace("promoto", "").replace("promotion", "").replace("remoto", ""), f"{path}: {word}"


@pytest.mark.parametrize("path", sorted({p for _, p in FILES}), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, "one subject, about 400 lines at most"


def test_no_module_is_called_utils() -> None:
    assert not [path for _, path in FILES if path.stem in {"utils", "helpers", "common", "misc"}]


def test_the_plugin_manager_sees_only_the_plugin() -> None:
    assert (ROOT / "plugins" / ".airflowignore").read_text().split() == ["flywheel/", "include/"]
    assert [path.name for path in (ROOT / "plugins").glob("*.py")] == ["flywheel_plugin.py"]
