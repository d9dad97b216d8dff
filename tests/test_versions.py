"""Every way of starting the project has the same versions: requirements, locks, Dockerfile, compose, Astro."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def loaded(path: str) -> Any:
    return yaml.safe_load(text(path))


def pins(lines: str) -> dict[str, str]:
    """name -> version of each `name[extras]==version` line."""
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lines, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def requirements() -> dict[str, str]:
    return pins(text("requirements.txt"))


def test_the_airflow_lock_holds_what_the_requirements_ask_for(requirements: dict[str, str]) -> None:
    lock = pins(text("include/laptop/airflow.lock"))
    assert requirements.items() <= lock.items(), "run `make lock`"


def test_the_requirements_agree_with_the_constraints_except_for_the_lifted_provider(
    requirements: dict[str, str],
) -> None:
    constraints = pins(text("plugins/constraints.txt"))
    differing = {name for name, version in requirements.items() if constraints.get(name, version) != version}
    assert differing <= {"apache-airflow-providers-amazon"}


@pytest.mark.parametrize(
    ("group", "lock"), [("airflow-test", "include/laptop/airflow.lock"), ("jobs", "include/laptop/jobs.lock")]
)
def test_each_lock_holds_its_dependency_group(group: str, lock: str) -> None:
    wanted = tomllib.loads(text("pyproject.toml"))["dependency-groups"][group]
    locked = pins(text(lock))
    for requirement in wanted:
        name, _, version = re.sub(r"\[[^\]]*\]", "", requirement).partition("==")
        assert name.lower() in locked, f"{lock} lacks {name}: run `make lock`"
        assert version in {"", locked[name.lower()]}, f"{lock} has {name} {locked[name.lower()]}: run `make lock`"


def test_the_images_have_the_versions_of_the_environments(requirements: dict[str, str]) -> None:
    airflow = requirements["apache-airflow"]
    bootstrap = text("include/laptop/bootstrap.py")
    pythons = dict(re.findall(r'Environment\("([.\w-]+)", "([\d.]+)"', bootstrap))
    dockerfile = text("Dockerfile")
    assert f"FROM apache/airflow:{airflow}-python{pythons['.venv']} AS airflow" in dockerfile
    assert f"FROM python:{pythons['.venv-jobs']}-slim AS localaws" in dockerfile
    assert f'io.astronomer.docker.airflow.version="{airflow}"' in dockerfile
    runtime = re.search(r'io\.astronomer\.docker\.runtime\.version="(\d+\.\d+)-', dockerfile)
    assert runtime and airflow.startswith(runtime.group(1) + "."), "Astro's runtime is numbered after its Airflow"
    services = loaded("docker-compose.yaml")["services"]
    assert services["scheduler"]["image"] == f"flywheel/airflow:{airflow}-python{pythons['.venv']}"
    added = loaded("docker-compose.override.yml")["services"]
    assert added["localaws"]["image"] == f"flywheel/localaws:python{pythons['.venv-jobs']}"
    assert loaded(".astro/config.yaml")["postgres"]["tag"] == services["postgres"]["image"].partition(":")[2]


def test_the_last_image_is_airflow_because_astro_builds_the_last_one() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)", text("Dockerfile"), re.MULTILINE)
    assert stages == ["localaws", "airflow"]


def test_every_airflow_component_in_containers_gets_the_shared_settings() -> None:
    components = ["api-server", "scheduler", "dag-processor", "triggerer"]
    compose, added = loaded("docker-compose.yaml")["services"], loaded("docker-compose.override.yml")["services"]
    for name in components:
        assert "include/laptop/airflow.env" in added[name]["env_file"]
        assert added[name]["command"][-2:] == ["airflow", name] == compose[name]["command"]


def test_containers_publish_their_ports_to_this_machine_only() -> None:
    for path in ("docker-compose.yaml", "docker-compose.override.yml"):
        for name, service in loaded(path)["services"].items():
            for port in service.get("ports", []):
                assert port.startswith("127.0.0.1:"), f"{path}, {name}: {port}"


def test_the_training_container_and_the_jobs_have_the_same_xgboost() -> None:
    tag = loaded("plugins/flywheel/images.json")["xgboost"]["tag"]
    release = pins(text("include/laptop/jobs.lock"))["xgboost-cpu"]
    assert release.startswith(tag.partition("-")[0] + "."), f"container {tag}, locally {release}"
