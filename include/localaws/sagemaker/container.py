"""The container contract of SageMaker's framework images, kept by a plain directory and a plain process.

On AWS a job sees `/opt/ml` inside its container. Here the same tree lies below the job's own root, and every
`/opt/ml/...` that the request carries (hyperparameters, arguments, environment) is rewritten to it, because a process
without a container has no mount of its own. Scripts that take their paths from `SM_*`, from arguments or from
hyperparameters run unchanged.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

HOST = "algo-1"
PROGRAM = "sagemaker_program"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"
TUNING_METRIC = "_tuning_objective_metric"

# What the jobs' environment can stand in for: the framework images whose libraries it holds.
KNOWN_REPOSITORIES = frozenset({"sagemaker-xgboost", "sagemaker-scikit-learn"})

_OPT_ML = re.compile(r"(?<![\w.-])/opt/ml(?=/|$|[\s\"',:;])")
_GPU_INSTANCE = re.compile(r"^ml\.(p|g)\d")


class ContainerError(Exception):
    """What the container was given cannot be used; the text is the job's failure reason without its prefix."""


@dataclass(frozen=True)
class Layout:
    """The directories of one container below its root on this machine."""

    root: Path

    @property
    def ml(self) -> Path:
        """What the container knows as `/opt/ml`."""
        return self.root / "opt" / "ml"

    @property
    def config(self) -> Path:
        """`/opt/ml/input/config`, where the service writes what was asked for."""
        return self.ml / "input" / "config"

    @property
    def data(self) -> Path:
        """`/opt/ml/input/data`, one folder per channel."""
        return self.ml / "input" / "data"

    @property
    def model(self) -> Path:
        """`/opt/ml/model`, packed into model.tar.gz after training and unpacked from it before serving."""
        return self.ml / "model"

    @property
    def output(self) -> Path:
        """`/opt/ml/output`: the `failure` file and `data/`."""
        return self.ml / "output"

    @property
    def code(self) -> Path:
        """`/opt/ml/code`, the unpacked source directory of script mode."""
        return self.ml / "code"

    def at(self, path: str) -> Path:
        """The place on this machine of an absolute path inside the container."""
        return self.root / path.lstrip("/")

    def rewrite(self, text: str) -> str:
        """`text` with each path below `/opt/ml` pointing into this container's root."""
        return _OPT_ML.sub(lambda _: str(self.ml), text)

    def rewrite_all(self, values: Mapping[str, str]) -> dict[str, str]:
        """A mapping with all its values rewritten."""
        return {key: self.rewrite(value) for key, value in values.items()}


def repository(image: str) -> str:
    """The repository of an image reference: `683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0`
    gives `sagemaker-xgboost`."""
    return image.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0]


def missing_image(image: str) -> str | None:
    """Why an image cannot be run here, or None where it can."""
    if repository(image) in KNOWN_REPOSITORIES:
        return None
    known = ", ".join(sorted(KNOWN_REPOSITORIES))
    return f"Requested image {image} not found. The local AWS can run images of these repositories: {known}."


def gpus(instance_type: str) -> int:
    """How many GPUs a job on this instance type sees: this machine's if the type has GPUs, else none."""
    if not _GPU_INSTANCE.match(instance_type):
        return 0
    return len([name for name in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", name)])


def decode_hyperparameters(values: Mapping[str, str]) -> dict[str, Any]:
    """Hyperparameters as the toolkits read them: each value as JSON where it is JSON, else as it stands."""
    decoded = {}
    for key, value in values.items():
        try:
            decoded[key] = json.loads(value)
        except ValueError:
            decoded[key] = value
    return decoded


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """The user's hyperparameters as command line arguments (`--max_depth 6`; `-x 1` for one letter), by name."""
    argv: list[str] = []
    for key in sorted(hyperparameters):
        if not _of_framework(key):
            value = hyperparameters[key]
            argv += [f"-{key}" if len(key) == 1 else f"--{key}", "" if value is None else str(value)]
    return argv


def _of_framework(key: str) -> bool:
    """Whether a hyperparameter is for the toolkit, which does not pass it on to the script."""
    return key.startswith("sagemaker_") or key == TUNING_METRIC


def training_environment(
    layout: Layout,
    *,
    job_name: str,
    job_arn: str,
    instance_type: str,
    hyperparameters: Mapping[str, Any],
    channels: Sequence[str],
    program: str,
    input_config: Mapping[str, Any],
) -> dict[str, str]:
    """The `SM_*` variables that the training toolkit sets for a script on one host."""
    user = {key: value for key, value in hyperparameters.items() if not _of_framework(key)}
    framework = {key: value for key, value in hyperparameters.items() if _of_framework(key)}
    resources = resource_config(instance_type)
    found = gpus(instance_type)
    values: dict[str, Any] = {
        "SM_CHANNELS": sorted(channels),
        "SM_CURRENT_HOST": HOST,
        "SM_CURRENT_INSTANCE_GROUP": resources["current_group_name"],
        "SM_CURRENT_INSTANCE_TYPE": instance_type,
        "SM_FRAMEWORK_PARAMS": framework,
        "SM_HOSTS": [HOST],
        "SM_HPS": user,
        "SM_INPUT_CONFIG_DIR": str(layout.config),
        "SM_INPUT_DATA_CONFIG": input_config,
        "SM_INPUT_DIR": str(layout.ml / "input"),
        "SM_LOG_LEVEL": hyperparameters.get("sagemaker_container_log_level", 20),
        "SM_MODEL_DIR": str(layout.model),
        "SM_MODULE_DIR": framework.get(SUBMIT_DIRECTORY, str(layout.code)),
        "SM_MODULE_NAME": program.removesuffix(".py"),
        "SM_NETWORK_INTERFACE_NAME": resources["network_interface_name"],
        "SM_NUM_CPUS": os.cpu_count() or 1,
        "SM_NUM_GPUS": found,
        "SM_NUM_NEURONS": 0,
        "SM_OUTPUT_DATA_DIR": str(layout.output / "data"),
        "SM_OUTPUT_DIR": str(layout.output),
        "SM_OUTPUT_INTERMEDIATE_DIR": str(layout.output / "intermediate"),
        "SM_RESOURCE_CONFIG": resources,
        "SM_USER_ARGS": arguments(user),
        "SM_USER_ENTRY_POINT": program,
        "TRAINING_JOB_ARN": job_arn,
        "TRAINING_JOB_NAME": job_name,
    }
    values |= {f"SM_CHANNEL_{channel.upper()}": str(layout.data / channel) for channel in channels}
    values |= {f"SM_HP_{key.upper()}": value for key, value in user.items()}
    environment = {key: _text(value) for key, value in values.items()}
    # The toolkit puts all of it into one variable as well; frameworks read the resources from there.
    environment["SM_TRAINING_ENV"] = json.dumps(
        {
            "channel_input_dirs": {channel: str(layout.data / channel) for channel in channels},
            "current_host": HOST,
            "hosts": [HOST],
            "hyperparameters": user,
            "input_data_config": input_config,
            "job_name": job_name,
            "model_dir": str(layout.model),
            "module_name": program.removesuffix(".py"),
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": found,
            "output_data_dir": str(layout.output / "data"),
            "resource_config": resources,
            "user_entry_point": program,
        },
        sort_keys=True,
        default=str,
    )
    return environment | visible_gpus(instance_type)


def resource_config(instance_type: str) -> dict[str, Any]:
    """The content of `resourceconfig.json` for one host."""
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": instance_type,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def visible_gpus(instance_type: str) -> dict[str, str]:
    """Hides this machine's GPUs from a job on an instance type without one, as its container would not have them."""
    return {} if gpus(instance_type) else {"CUDA_VISIBLE_DEVICES": ""}


def write_json(path: Path, content: Any) -> None:
    """Writes one of the container's configuration files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, default=str), encoding="utf-8")


def unpack(archive: Path, destination: Path, *, source: str) -> None:
    """Unpacks a tar.gz as the container's own user would, refusing members that would leave the folder.

    :param source: the S3 URI that the archive came from, for the message
    :raises ContainerError: it is no tar.gz, is truncated, or holds a member that points outside
    """
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(destination, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ContainerError(f"the object at {source} is not a valid tar.gz archive: {error}") from error


def pack(folder: Path, archive: Path) -> None:
    """Packs a folder's content (not the folder itself) as a tar.gz whose member order does not depend on the disk."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


def check_requirements(code: Path) -> None:
    """Fails like the container's `pip install -r requirements.txt` would, for what this environment lacks.

    Nothing is installed: the jobs' environment is shared by all jobs and pinned.

    :raises ContainerError: it names each requirement that is not there, and what is
    """
    file = code / "requirements.txt"
    if not file.is_file():
        return
    unmet = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.split("#", 1)[0].strip()
        if not text or text.startswith("-"):
            continue
        try:
            requirement = Requirement(text)
            found = metadata.version(requirement.name)
            if not requirement.specifier.contains(found, prereleases=True):
                unmet.append(f"{text} (found {found})")
        except InvalidRequirement:
            unmet.append(f"{text} (not a requirement)")
        except metadata.PackageNotFoundError:
            unmet.append(f"{text} (not installed)")
    if unmet:
        raise ContainerError(
            "InstallRequirementsError:\nrequirements.txt asks for what the jobs' environment of the local AWS lacks: "
            f"{', '.join(unmet)}. Add it to the jobs' dependencies in pyproject.toml."
        )


def script_command(code: Path, program: str, argv: Sequence[str]) -> list[str]:
    """The command of script mode: a Python program, else a shell command, as the training toolkit tells them apart.

    :raises ContainerError: the program is not in the source directory
    """
    if not (code / program).is_file():
        found = ", ".join(sorted(p.relative_to(code).as_posix() for p in code.rglob("*") if p.is_file())[:20])
        raise ContainerError(
            f"ExecuteUserScriptError:\n{PROGRAM} is {program!r}, which is not in the source directory "
            f"(it holds: {found or 'nothing'})"
        )
    if program.endswith(".py"):
        return [sys.executable, program, *argv]
    return ["/bin/sh", f"./{program}", *argv]


def user_failure(last_lines: Sequence[str], exit_code: int, command: Sequence[str]) -> str:
    """The failure text that the training toolkit leaves: exit code, the script's exception, and the command.

    :param last_lines: the end of what the script printed, oldest first
    """
    code = 128 - exit_code if exit_code < 0 else exit_code
    shown = " ".join(["python3", *command[1:]] if command and command[0] == sys.executable else command)
    return (
        f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{exception_text(last_lines)}"\n'
        f'Command "{shown}", exit code: {code}'
    )


def exception_text(lines: Sequence[str]) -> str:
    """The exception at the end of a Python traceback, else the last line that says anything."""
    starts = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if starts:
        for at in range(starts[-1] + 1, len(lines)):
            if lines[at] and not lines[at][0].isspace():
                return "\n".join(line for line in lines[at : at + 8]).strip()
    said = [line for line in lines if line.strip()]
    return said[-1].strip() if said else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
