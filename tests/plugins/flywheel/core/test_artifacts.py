"""What is uploaded for the jobs."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

from flywheel.core.artifacts import artifacts_version, build_artifacts

INCLUDE = Path(__file__).parents[4] / "include"


def test_artifacts_hold_what_the_operators_ask_for() -> None:
    artifacts = build_artifacts(INCLUDE)
    assert {"scripts/glue/ingest_dataset.py", "scripts/emr/build_features.py", "scripts/sagemaker/evaluate.py"} <= set(artifacts)
    core = zipfile.ZipFile(io.BytesIO(artifacts["flywheel_core.zip"])).namelist()
    assert {"flywheel/__init__.py", "flywheel/core/drift.py"} <= set(core)
    assert not [name for name in core if "operators" in name]
    assert "features/flight_delay.py" in zipfile.ZipFile(io.BytesIO(artifacts["scripts/emr/features.zip"])).namelist()
    with tarfile.open(fileobj=io.BytesIO(artifacts["xgboost_classifier.tar.gz"])) as archive:
        source = archive.getnames()
    assert {"train.py", "inference.py", "flywheel/core/drift.py"} <= set(source)
    assert json.loads(artifacts["datasets/flights.json"])["name"] == "flights"


def test_the_same_files_give_the_same_bytes_and_a_change_gives_another_version(tmp_path: Path) -> None:
    copy = tmp_path / "include"
    for folder in ("scripts", "datasets"):
        shutil.copytree(INCLUDE / folder, copy / folder)
    assert build_artifacts(copy) == build_artifacts(INCLUDE)
    assert artifacts_version(copy) == artifacts_version(INCLUDE)
    (copy / "scripts" / "glue" / "ingest_dataset.py").write_text("print('changed')")
    artifacts_version.cache_clear()
    assert artifacts_version(copy) != artifacts_version(INCLUDE)
