"""Champion and challengers in the local registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from flywheel.core.specs import ModelSpec, load_model_spec
from flywheel.operators.registry import (
    DecidePromotionOperator,
    RegisterChallengerOperator,
    ResolveChampionOperator,
    SettleChallengerOperator,
)

Run = Callable[[Any], Any]
SPEC = load_model_spec(Path(__file__).parents[4] / "include" / "models" / "flight_delay.yaml")


#: What the registry takes only in part: its properties know no brackets, commas and signs.
REASON = "PSI (carrier) 0.31 > 0.2; Gini 0.4, -20%"


def named(name: str) -> ModelSpec:
    """The flights' spec under a name, and so with a package group, of the test's own."""
    return SPEC.model_copy(update={"name": name})


def evaluation(aws: Any, name: str, challenger: float, champion: float | None = None) -> str:
    """An evaluation report on S3; returns its URI."""
    report = {
        "rows": 100,
        "challenger": {"auc": challenger},
        "champion": None if champion is None else {"auc": champion},
        "difference": None if champion is None else {"auc": challenger - champion, "ci_low": -0.01, "ci_high": 0.05},
    }
    aws.client("s3").put_object(Bucket="flywheel-tests", Key=f"evaluations/{name}.json", Body=json.dumps(report))
    return f"s3://flywheel-tests/evaluations/{name}.json"


def register(run: Run, model: ModelSpec, run_key: str, report: str) -> dict[str, Any]:
    return run(
        RegisterChallengerOperator(
            task_id="register", model=model, run_key=run_key, model_data="s3://flywheel-tests/models/model.tar.gz",
            image="683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0", evaluation=report,
            metadata={"reason": REASON, "trained_until": "2013-03-30"},
        )
    )  # fmt: skip


def settle(run: Run, model: ModelSpec, version: dict[str, Any], status: str) -> None:
    run(SettleChallengerOperator(task_id="settle", model=model, arn=version["arn"], status=status, reason=f"{status} by a test"))


def test_the_champion_is_the_newest_approved_version_and_rejecting_it_rolls_back(aws: Any, run: Run) -> None:
    model = named("rolled_back")
    report = evaluation(aws, "rolled", 0.7)
    first, second, third = (register(run, model, f"run-{n}", report) for n in (1, 2, 3))
    settle(run, model, first, "Approved")
    settle(run, model, second, "Approved")
    settle(run, model, third, "Rejected")
    resolve = ResolveChampionOperator(task_id="resolve", model=model)
    champion = run(resolve)
    assert champion["version"] == 2
    assert champion["name"] == "rolled-back-v2"
    assert champion["metadata"]["auc_holdout"] == "0.700000", "the decision keeps the version's metadata"
    assert champion["metadata"]["reason"] == "PSI carrier 0.31 0.2 Gini 0.4 -20"
    assert champion["last_trained_until"] == "2013-03-30"
    settle(run, model, second, "Rejected")
    assert run(resolve)["version"] == 1


def test_registering_again_makes_no_second_version(aws: Any, run: Run) -> None:
    model = named("registered_once")
    report = evaluation(aws, "once", 0.7)
    assert register(run, model, "run-1", report) == register(run, model, "run-1", report)
    assert register(run, model, "run-2", report)["version"] == 2


def test_without_a_champion(aws: Any, run: Run) -> None:
    model = named("never_trained")
    with pytest.raises(AirflowFailException, match="run the DAG train_never_trained first"):
        run(ResolveChampionOperator(task_id="resolve", model=model))
    with pytest.raises(AirflowSkipException):
        run(ResolveChampionOperator(task_id="resolve", model=model, if_none="skip"))
    assert run(ResolveChampionOperator(task_id="resolve", model=model, if_none="pass"))["model_data"] is None


@pytest.mark.parametrize(("challenger", "champion", "way"), [(0.7, None, "won"), (0.72, 0.70, "won"), (0.69, 0.70, "lost")])
def test_the_better_one_goes_on(aws: Any, runner: Any, challenger: float, champion: float | None, way: str) -> None:
    uri = evaluation(aws, f"decide-{challenger}-{champion}", challenger, champion)
    decide = DecidePromotionOperator(task_id="decide", model=SPEC, evaluation=uri, if_won="won", if_lost="lost")
    assert (
        decide.choose_branch({"ti": (ti := type("Ti", (), {"xcom_push": lambda self, key, value: setattr(self, key, value)})())})
        == way
    )  # type: ignore[typeddict-item]
    assert ti.decision["promote"] is (way == "won")
