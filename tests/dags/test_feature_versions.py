"""Two versions of a feature group side by side: who loads, reads, trains and judges which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import made_by, render, statements

from flywheel.core.specs import ModelSpec, load_model_spec

INCLUDE = Path(__file__).parents[2] / "include"
V1 = yaml.safe_load((INCLUDE / "features" / "flight_delay_v1.yaml").read_text())
#: Another order, one feature less, one more.
V2_COLUMNS = {"headwind": {"type": "double"}} | {name: V1["columns"][name] for name in reversed(V1["columns"]) if name != "seats"}


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    """The flights' spec after the cut-over to version 2."""
    for folder in ("features", "models"):
        (tmp_path / folder).mkdir()
    spec = yaml.safe_load((INCLUDE / "models" / "flight_delay.yaml").read_text()) | {
        "features": {"group": "flight_delay", "version": 2}
    }
    label = {"meaning": "late", "lag_days": 2}
    second = V1 | {"version": 2, "columns": V2_COLUMNS, "label": label, "chunk_days": 7, "owner": "somebody-else"}
    files = {"features/flight_delay_v1": V1, "features/flight_delay_v2": second, "models/flight_delay": spec}
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_model_spec(tmp_path / "models" / "flight_delay.yaml")


def tables(sql: str) -> set[str]:
    """The tables of features and labels that a statement names."""
    return set(re.findall(r"\b(?:features|labels)\.\w+", sql))


def selected(sql: str) -> list[str]:
    """The columns that an UNLOAD writes, in their order."""
    return re.findall(
        r"\w+(?=,?\s)", sql[sql.index("SELECT") + len("SELECT") : sql.index("FROM")].replace("f.", "").replace("l.", "")
    )


def columns(model: ModelSpec, version: int) -> list[str]:
    return list(model.feature_versions[version].columns)


class TestLoading:
    """The DAG of the group."""

    @pytest.fixture
    def dag(self, model: ModelSpec) -> Any:
        return made_by("load_features", "flight_delay", model.feature_versions)

    def test_each_version_has_a_chain_of_its_own_and_neither_waits_for_the_other(self, dag: Any) -> None:
        steps = ["plan_chunks", "build_features", "load_redshift", "publish_partitions"]
        assert {task.task_id for task in dag.tasks} == {"resolve_days", *(f"v{n}.{step}" for n in (1, 2) for step in steps)}
        for version in (1, 2):
            assert dag.get_task(f"v{version}.publish_partitions").get_flat_relative_ids(upstream=True) == {
                "resolve_days", *(f"v{version}.{step}" for step in steps[:-1])
            }  # fmt: skip

    def test_each_version_has_an_asset_an_owner_and_chunks_of_its_own(self, dag: Any) -> None:
        assert [asset.name for n in (1, 2) for asset in dag.get_task(f"v{n}.publish_partitions").outlets] == [
            "features/flight_delay_v1",
            "features/flight_delay_v2",
        ]
        assert [dag.get_task(f"v{n}.load_redshift").owner for n in (1, 2)] == ["flight-operations", "somebody-else"]
        assert [dag.get_task(f"v{n}.plan_chunks").definition.chunk_days for n in (1, 2)] == [V1["chunk_days"], 7]

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_load_touches_its_own_version_only(self, dag: Any, model: ModelSpec, version: int) -> None:
        sent = statements(render(dag, f"v{version}.load_redshift"))
        assert {table for sql in sent for table in tables(sql)} == {
            f"features.flight_delay_v{version}",
            f"labels.flight_delay_v{version}",
        }
        assert not [sql for sql in sent if f"_v{3 - version}" in sql or f"/v{3 - version}/" in sql]
        (stage,) = (sql for sql in sent if "CREATE TEMP TABLE stage_features" in sql)
        names = re.findall(r"^    (\w+) ", stage, re.MULTILINE)
        assert names == ["entity_id", "event_time", *columns(model, version), "checksum"]

    @pytest.mark.parametrize("version", [1, 2])
    def test_the_job_gets_its_versions_columns_in_their_order(self, dag: Any, model: ModelSpec, version: int) -> None:
        arguments = render(dag, f"v{version}.build_features").arguments
        told = dict(zip(arguments[::2], arguments[1::2], strict=True))
        assert (told["--version"], told["--label-lag-days"]) == (str(version), str(version))
        assert [column.split(":")[0] for column in told["--columns"].split(",")] == columns(model, version)


class TestServing:
    """A champion of version 1 goes on with version 1 under a spec that pins version 2; and a champion of version 2 with 2."""

    @pytest.fixture
    def score(self, model: ModelSpec) -> Any:
        return made_by("score", model)

    @pytest.fixture
    def monitor(self, model: ModelSpec) -> Any:
        return made_by("monitor", model)

    def test_scoring_starts_when_any_version_is_loaded(self, score: Any) -> None:
        condition = score.timetable.asset_condition
        assert type(condition).__name__ == "AssetAny"
        assert [asset.name for asset in condition.objects] == ["features/flight_delay_v1", "features/flight_delay_v2"]
        assert score.get_task("resolve_days").upstream_task_ids == {"resolve_champion"}

    @pytest.mark.parametrize("version", [1, 2])
    def test_only_events_of_the_champions_version_give_days(self, score: Any, version: int) -> None:
        assert render(score, "resolve_days", version).only == f"features/flight_delay_v{version}"

    @pytest.mark.parametrize("version", [1, 2])
    def test_what_is_scored_are_the_champions_columns_in_its_order(self, score: Any, model: ModelSpec, version: int) -> None:
        (unload,) = statements(render(score, "export_features", version))
        assert tables(unload) == {f"features.flight_delay_v{version}"}
        assert selected(unload) == ["entity_id", *columns(model, version)]
        published = "\n".join(statements(render(score, "publish_predictions", version)))
        assert tables(published) == {f"features.flight_delay_v{version}"}

    @pytest.mark.parametrize(("version", "last_day"), [(1, "2013-04-29"), (2, "2013-04-28")])
    def test_what_is_judged_is_what_the_champion_was_trained_on(
        self, monitor: Any, model: ModelSpec, version: int, last_day: str
    ) -> None:
        measure = render(monitor, "measure_drift", version)
        assert measure.table == f"features.flight_delay_v{version}"
        assert yaml.safe_load(measure.context) == model.feature_versions[version].context()
        outcomes = "\n".join(statements(render(monitor, "count_outcomes", version)))
        assert tables(outcomes) == {f"labels.flight_delay_v{version}", f"features.flight_delay_v{version}"}
        psi = render(monitor, "psi_drift", version)
        assert psi.parameters["period_end"] == last_day, "up to the last day whose labels are known"


class TestTraining:
    """The challenger takes what the spec pins; the champion is judged with what it knows."""

    @pytest.fixture
    def dag(self, model: ModelSpec) -> Any:
        return made_by("train", model)

    def test_a_champion_of_another_version_is_judged_with_its_own_features_and_the_challengers_labels(
        self, dag: Any, model: ModelSpec
    ) -> None:
        train, holdout, champion, describe = statements(render(dag, "pin_snapshot", 1))
        for unload, version in ((train, 2), (holdout, 2), (champion, 1)):
            assert tables(unload) == {f"features.flight_delay_v{version}", "labels.flight_delay_v2"}
            assert selected(unload) == ["entity_id", "event_time", "ds", *columns(model, version), "label"]
        days = [re.findall(r"BETWEEN '(.+)' AND '(.+)'", unload) for unload in (train, holdout, champion)]
        assert days[1] == days[2] == [("2013-04-10", "2013-04-30")] and days[0] == [("2013-04-01", "2013-04-09")]
        assert "holdout_champion/'" in champion and re.findall(r"'(\w+)' AS part", describe) == [
            "train", "holdout", "holdout_champion"
        ]  # fmt: skip
        assert re.findall(r"(\d) AS feature_version", describe) == ["2", "2", "1"]
        assert render(dag, "evaluate", 1).inputs["holdout_champion"].endswith("/holdout_champion/")
        assert render(dag, "pin_snapshot", 1).champion_version == "1"

    @pytest.mark.parametrize("version", [2, None], ids=["a champion of the same version", "no champion yet"])
    def test_nothing_is_unloaded_twice_where_both_know_the_same_features(self, dag: Any, version: int | None) -> None:
        sent = statements(render(dag, "pin_snapshot", version))
        assert len(sent) == 3
        assert {table for sql in sent for table in tables(sql)} == {"features.flight_delay_v2", "labels.flight_delay_v2"}
        assert render(dag, "evaluate", version).inputs["holdout_champion"] == ""

    def test_the_challenger_is_trained_and_registered_with_the_specs_version(self, dag: Any, model: ModelSpec) -> None:
        metadata = dag.get_task("register_challenger").metadata
        assert (metadata["feature_group"], metadata["feature_version"]) == ("flight_delay", "2")
        categorical = dag.get_task("train_challenger").hyperparameters["categorical"]
        assert categorical.split(",") == model.feature_versions[2].names("category") == ["dest", "origin", "carrier"]
