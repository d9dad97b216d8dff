"""Parse time of the DAGs: with N model specs, and of hand-written DAGs of the same shape. Runs with Airflow's Python.

    python tests/bench/parse_dags.py measure FOLDER          one parse of a DAG folder in this process, as JSON
    python tests/bench/parse_dags.py compare 1 10 100        the table

A hand-written DAG is made from the real file: its factory once for each model, with every value of the spec put in as a
literal. What is left of the difference is what specs cost: YAML, validation, the loop.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3
STAGES = ("load_features", "train", "score", "monitor")


def measure(folder: Path) -> dict[str, Any]:
    """Seconds (wall and CPU) that a fresh process needs to read all DAGs of a folder, Airflow's own import left out."""
    from airflow.dag_processing.dagbag import DagBag

    wall, cpu = time.perf_counter(), time.process_time()
    bag = DagBag(folder)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "dags": len(bag.dags),
        "errors": {str(file): error[-300:] for file, error in bag.import_errors.items()},
    }


def make_include(folder: Path, models: int) -> None:
    """An include folder like the project's, with copies of the first spec under other names, each with features of its own."""
    for name in ("sql", "scripts", "datasets"):
        (folder / name).symlink_to(ROOT / "include" / name)
    for name in ("features", "models"):
        (folder / name).mkdir()
    features = (ROOT / "include" / "features" / "flight_delay_v1.yaml").read_text()
    spec = (ROOT / "include" / "models" / "flight_delay.yaml").read_text()
    for number in range(models):
        name = f"model_{number:03d}"
        own = features.replace("group: flight_delay", f"group: {name}", 1)
        (folder / "features" / f"{name}_v1.yaml").write_text(own)
        own = spec.replace("name: flight_delay", f"name: {name}", 1).replace("group: flight_delay", f"group: {name}", 1)
        (folder / "models" / f"{name}.yaml").write_text(own)


def make_handwritten(folder: Path, models: int) -> None:
    """DAG files of the same shape with literals instead of specs."""
    sys.path.insert(0, str(ROOT / "plugins"))
    from flywheel.core.specs import load_model_spec

    for name in ("ingest.py", "maintain.py"):
        (folder / name).symlink_to(ROOT / "dags" / name)
    spec = load_model_spec(ROOT / "include" / "models" / "flight_delay.yaml")
    for stage in STAGES:
        source = (ROOT / "dags" / f"{stage}.py").read_text()
        head, factory = source[: source.index(f"def {stage}_dag(")], source[source.index(f"def {stage}_dag(") :]
        factory = factory[: factory.index("\n\n\nfor ")]
        parts = [
            head,
            "from datetime import date, timedelta",
            "from types import SimpleNamespace",
            "from flywheel.core.specs import *",
        ]
        for number in range(models):
            name = f"model_{number:03d}"
            versions = {1: spec.features.model_copy(update={"group": name})}
            model = spec.model_copy(update={"name": name, "feature_versions": versions})
            known: dict[str, Any] = {"definition": versions[1]} if stage == "load_features" else {"model": model}
            heading = factory[: factory.index(") -> DAG:")]
            given = f"group={name!r}, versions={{1: definition}}" if stage == "load_features" else "model=model"
            text = factory.replace(heading, f"def {stage}_{number:03d}({given}", 1)
            parts += [f"{what} = {_literal(value)}" for what, value in known.items()]
            parts += [_with_literals(text, known), f"globals()['{stage}_{name}'] = {stage}_{number:03d}()"]
        (folder / f"{stage}.py").write_text("\n\n".join(parts))


def _literal(value: Any) -> str:
    """Python text that builds a spec's part as a plain namespace."""
    fields = getattr(type(value), "model_fields", None)
    if isinstance(value, dict) and any(hasattr(type(part), "model_fields") for part in value.values()):
        return "{" + ", ".join(f"{key!r}: {_literal(part)}" for key, part in value.items()) + "}"
    if fields is None:
        return repr(value).replace("datetime.", "")
    derived = ("package_group", "table", "zone", "features", "label", "start_date", "end_date", "longest")
    further = [name for name in derived if name not in fields and hasattr(value, name)]
    extra = "".join(f", {name}={_literal(getattr(value, name))}" for name in further)
    return (
        "SimpleNamespace("
        + ", ".join(f"{name}={_literal(getattr(value, name))}" for name in fields if name != "columns")
        + extra
        + ")"
    )


def _with_literals(text: str, known: dict[str, Any]) -> str:
    """The factory's text with the values of plain expressions on what is known written out, f-strings' braces included."""
    (what,) = known

    def value(match: re.Match[str]) -> str:
        found = eval(match.group(0), dict(known))  # noqa: S307  (our own source)
        return (
            repr(found).replace("datetime.date(", "date(")
            if isinstance(found, (str, int, float, list, tuple, type(None)))
            else match.group(0)
        )

    text = re.sub(r'f"(\w+)_\{model\.name\}"', lambda m: repr(f"{m.group(1)}_{known['model'].name}"), text)
    text = re.sub(
        rf'"[^"]*"\.join\(f"[^"]*" for name, column in {what}[^)]*\)\)',
        lambda m: repr(eval(m.group(0), dict(known))),  # noqa: S307  (our own source)
        text,
    )
    return re.sub(r'(?<![\w.{"])' + what + r'\.\w+(?:\.\w+)*(?:\((?:"\w+")?\))?(?![\w.(}"])', value, text)


def compare(counts: list[int]) -> None:
    """Alternates both ways in fresh processes and prints medians and their ratio."""
    print(f"{'models':>7} {'DAGs':>5} {'specs: wall':>12} {'cpu':>7} {'per DAG':>9}   {'by hand: wall':>13} {'cpu':>7}   ratio")
    for count in counts:
        with tempfile.TemporaryDirectory() as temporary:
            base = Path(temporary)
            for name in ("include", "byhand", "home"):
                (base / name).mkdir()
            make_include(base / "include", count)
            make_handwritten(base / "byhand", count)
            results: dict[str, list[dict[str, Any]]] = {"specs": [], "byhand": []}
            for _ in range(ROUNDS):
                results["specs"].append(_fresh(ROOT / "dags", base))
                results["byhand"].append(_fresh(base / "byhand", base))
        specs, byhand = (_median(results[name]) for name in ("specs", "byhand"))
        assert specs["dags"] == byhand["dags"], (specs["dags"], byhand["dags"])
        per_dag = 1000 * specs["cpu"] / specs["dags"]
        print(
            f"{count:>7} {specs['dags']:>5} {specs['wall']:>10.2f} s {specs['cpu']:>5.2f} s {per_dag:>6.1f} ms"
            f"   {byhand['wall']:>11.2f} s {byhand['cpu']:>5.2f} s   {specs['cpu'] / byhand['cpu']:.2f}"
        )


def _fresh(folder: Path, base: Path) -> dict[str, Any]:
    environment = os.environ | {
        "AIRFLOW_HOME": str(base / "home"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__FLYWHEEL__INCLUDE_DIR": str(base / "include"),
        "AIRFLOW__FLYWHEEL__BUCKET": "bench",
    }
    command = [sys.executable, __file__, "measure", str(folder)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if result["errors"]:
        raise RuntimeError(f"{folder}: {result['errors']}")
    return result


def _median(results: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(results, key=lambda result: result["cpu"])[len(results) // 2]


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        compare([int(count) for count in sys.argv[2:]])
