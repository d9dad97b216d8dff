"""The container contract: paths, arguments, environment, archives, failure texts."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from localaws.sagemaker import container
from localaws.sagemaker.container import ContainerError, Layout


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/opt/ml/checkpoints", "/root/opt/ml/checkpoints"),
        ("--output=/opt/ml/processing/output", "--output=/root/opt/ml/processing/output"),
        ('{"a": "/opt/ml/model"}', '{"a": "/root/opt/ml/model"}'),
        ("/opt/ml", "/root/opt/ml"),
        ("s3://bucket/opt/ml/model", "s3://bucket/opt/ml/model"),
        ("/opt/mlflow/x", "/opt/mlflow/x"),
        ("/home/opt/ml/x", "/home/opt/ml/x"),
    ],
)
def test_paths_of_the_container_are_rewritten(text: str, rewritten: str) -> None:
    assert Layout(Path("/root")).rewrite(text) == rewritten


def test_hyperparameters_become_arguments_as_in_the_toolkit() -> None:
    values = container.decode_hyperparameters(
        {"max_depth": "6", "objective": '"binary:logistic"', "name": "plain", "x": "1.5", "sagemaker_program": "t.py"}
    )
    assert values["objective"] == "binary:logistic"
    assert container.arguments(values) == [
        "--max_depth",
        "6",
        "--name",
        "plain",
        "--objective",
        "binary:logistic",
        "-x",
        "1.5",
    ]


def test_images_are_known_by_their_repository() -> None:
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
    assert container.repository(image) == "sagemaker-xgboost"
    assert container.missing_image(image) is None
    assert container.missing_image("246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-xgboost@sha256:ab") is None
    assert "mine" in str(container.missing_image("123456789012.dkr.ecr.us-east-1.amazonaws.com/mine"))


def test_only_gpu_instances_see_gpus(tmp_path: Path) -> None:
    assert container.gpus("ml.m5.4xlarge") == 0
    assert container.visible_gpus("ml.m5.4xlarge") == {"CUDA_VISIBLE_DEVICES": ""}


def test_the_environment_names_hosts_channels_and_hyperparameters() -> None:
    found = container.training_environment(
        Layout(Path("/root")),
        job_name="j",
        job_arn="arn",
        instance_type="ml.m5.large",
        hyperparameters={"max_depth": 6, "flag": True, "sagemaker_program": "train.py"},
        channels=["train", "holdout"],
        program="train.py",
        input_config={},
    )
    assert json.loads(found["SM_CHANNELS"]) == ["holdout", "train"]
    assert found["SM_CHANNEL_HOLDOUT"] == "/root/opt/ml/input/data/holdout"
    assert (found["SM_HP_MAX_DEPTH"], found["SM_HP_FLAG"]) == ("6", "true")
    assert json.loads(found["SM_USER_ARGS"]) == ["--flag", "True", "--max_depth", "6"]
    assert json.loads(found["SM_RESOURCE_CONFIG"])["current_host"] == "algo-1"
    assert json.loads(found["SM_TRAINING_ENV"])["hyperparameters"] == {"max_depth": 6, "flag": True}


def test_archives_that_would_leave_their_folder_or_are_broken_are_refused(tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar.gz"
    with tarfile.open(evil, "w:gz") as tar:
        info = tarfile.TarInfo("../outside.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ContainerError, match=r"s3://b/evil\.tar\.gz is not a valid tar\.gz archive"):
        container.unpack(evil, tmp_path / "out", source="s3://b/evil.tar.gz")
    assert not (tmp_path / "outside.txt").exists()
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(evil.read_bytes()[:40])
    with pytest.raises(ContainerError):
        container.unpack(broken, tmp_path / "out", source="s3://b/broken.tar.gz")


def test_packing_and_unpacking(tmp_path: Path) -> None:
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "model.ubj").write_text("m")
    (tmp_path / "model" / "code" / "inference.py").write_text("i")
    container.pack(tmp_path / "model", tmp_path / "model.tar.gz")
    container.unpack(tmp_path / "model.tar.gz", tmp_path / "again", source="s3://b/k")
    assert (tmp_path / "again" / "model.ubj").read_text() == "m"
    assert (tmp_path / "again" / "code" / "inference.py").read_text() == "i"


def test_requirements_are_met_or_named(tmp_path: Path) -> None:
    container.check_requirements(tmp_path)
    (tmp_path / "requirements.txt").write_text("# comment\nmoto>=5\n-r other.txt\n\n")
    container.check_requirements(tmp_path)
    (tmp_path / "requirements.txt").write_text("moto<5\nno-such-thing==1\n")
    with pytest.raises(ContainerError, match=r"moto<5 \(found 5\.\d.*no-such-thing==1 \(not installed\)"):
        container.check_requirements(tmp_path)


def test_commands_are_python_or_shell(tmp_path: Path) -> None:
    for name in ("train.py", "train.sh"):
        (tmp_path / name).write_text("")
    assert container.script_command(tmp_path, "train.py", ["--a", "1"]) == [sys.executable, "train.py", "--a", "1"]
    assert container.script_command(tmp_path, "train.sh", []) == ["/bin/sh", "./train.sh"]


def test_a_traceback_gives_its_exception() -> None:
    lines = ["epoch 1", "Traceback (most recent call last):", '  File "t.py", line 1', "    f()", "KeyError: 'auc'"]
    assert container.exception_text(lines) == "KeyError: 'auc'"
    assert container.exception_text(["a", "last words", ""]) == "last words"
    assert container.exception_text([]) == ""
    assert "ExitCode 137" in container.user_failure([], -9, ["x"])
