"""The model spec: everything that makes one model, in one YAML file of ``include/models/``.

The DAGs know nothing about any model; they read these objects. A key that is not here, or a value that cannot be, raises
:class:`SpecError` with file, key, what was expected and what was found.
"""

from __future__ import annotations

import difflib
import re
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flywheel.core.errors import SpecError
from flywheel.core.yaml_files import read_yaml

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="lower-case letters, digits, underscores")]
Cron = Annotated[str, Field(pattern=r"^(\S+ ){4}\S+$", description="cron expression of five fields, UTC")]
Scaling = Literal["auto", "linear", "logarithmic", "reverse_logarithmic"]
InstanceType = Annotated[
    str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="a SageMaker instance type, e.g. ml.m5.xlarge")
]


class Spec(BaseModel):
    """Base of all parts of a spec: immutable, and no key is accepted that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureColumn(Spec):
    """One feature: its type, and whether it only describes the context (seasons) and is never by itself a reason to retrain."""

    type: Literal["int", "bigint", "double", "category"]
    context: bool = False
    meaning: str = ""

    @property
    def sql_type(self) -> str:
        """The Redshift type of the column."""
        return {"int": "INTEGER", "bigint": "BIGINT", "double": "DOUBLE PRECISION", "category": "VARCHAR(64)"}[self.type]


class Features(Spec):
    """A feature group at one version, and the Spark module that computes it."""

    group: Identifier
    version: int = Field(ge=1)
    module: Identifier = Field(description="module in include/scripts/emr/features/")
    inputs: tuple[Identifier, ...] = Field(min_length=1, description="datasets that the features are made of")
    label_inputs: tuple[Identifier, ...] = Field(min_length=1, description="datasets that the labels are made of")
    lookback_days: int = Field(0, ge=0, le=400, description="days before the window that the features look at")
    columns: dict[Identifier, FeatureColumn] = Field(min_length=1)

    @property
    def table(self) -> str:
        """Redshift table without schema; versions live side by side."""
        return f"{self.group}_v{self.version}"

    def drivers(self) -> list[str]:
        """The features whose drift by itself is a reason to retrain: all that are not context."""
        return [name for name, column in self.columns.items() if not column.context]

    def names(self, *types: str) -> list[str]:
        """Feature names in the order of the spec, all or only those of the given types."""
        return [name for name, column in self.columns.items() if not types or column.type in types]


class Label(Spec):
    """What is predicted, and how many days after the event it becomes known."""

    meaning: str
    lag_days: int = Field(ge=0, le=365)


class Spot(Spec):
    """Managed spot training: how long to wait for capacity and the run together, in seconds."""

    max_wait_seconds: int = Field(ge=60)


class Compute(Spec):
    """The machines of a job and its limits; seconds and GB."""

    instance_type: InstanceType
    instance_count: int = Field(1, ge=1, le=100)
    volume_gb: int = Field(30, ge=1, le=16384)
    max_runtime_seconds: int = Field(3600, ge=60, le=28 * 86400)
    spot: Spot | None = None
    checkpoints: bool = False

    @property
    def longest(self) -> timedelta:
        """How long a job may take in all, by AWS's own limits: the waiting for spot capacity included."""
        return timedelta(seconds=self.spot.max_wait_seconds if self.spot else self.max_runtime_seconds)

    @model_validator(mode="after")
    def _spot_waits_at_least_as_long_as_it_runs(self) -> Compute:
        if self.spot and self.spot.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"spot.max_wait_seconds of at least max_runtime_seconds ({self.max_runtime_seconds}), "
                f"found {self.spot.max_wait_seconds}"
            )
        return self


class IntegerRange(Spec):
    """A hyperparameter that is tried at whole numbers, both ends included."""

    type: Literal["integer"]
    min: int
    max: int
    scaling: Scaling = "auto"


class ContinuousRange(Spec):
    """A hyperparameter that is tried at any number between the ends."""

    type: Literal["continuous"]
    min: float
    max: float
    scaling: Scaling = "auto"


class CategoricalRange(Spec):
    """A hyperparameter that is tried at each of some values."""

    type: Literal["categorical"]
    values: tuple[str | int | float, ...] = Field(min_length=1, max_length=30)


ParameterRange = Annotated[IntegerRange | ContinuousRange | CategoricalRange, Field(discriminator="type")]


class Tuning(Spec):
    """The search for hyperparameters: many training jobs, of which the best becomes the challenger.

    The limits of ``compute`` hold for each of them. ``metric`` is one of those that the training script prints.
    """

    metric: str = Field(description="e.g. validation:auc")
    goal: Literal["maximize", "minimize"] = "maximize"
    strategy: Literal["bayesian", "random", "grid"] = "bayesian"
    max_jobs: int = Field(ge=1, le=750)
    parallel_jobs: int = Field(1, ge=1, le=100)
    early_stopping: bool = False
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    ranges: dict[Identifier, ParameterRange] = Field(min_length=1, max_length=30)

    @model_validator(mode="after")
    def _there_is_something_to_search(self) -> Tuning:
        if self.parallel_jobs > self.max_jobs:
            raise ValueError(f"parallel_jobs of at most max_jobs ({self.max_jobs}), found {self.parallel_jobs}")
        for name, searched in self.ranges.items():
            if not isinstance(searched, CategoricalRange) and searched.min >= searched.max:
                raise ValueError(f"ranges.{name}: min below max ({searched.max}), found {searched.min}")
        if self.strategy == "grid" and not all(isinstance(searched, CategoricalRange) for searched in self.ranges.values()):
            raise ValueError("ranges of type categorical only, for strategy grid")
        return self


class Training(Spec):
    """When and how a challenger is trained. The last ``holdout_days`` of the window are kept for the evaluation."""

    schedule: Cron | None
    window_days: int = Field(ge=7)
    holdout_days: int = Field(ge=1)
    script: Identifier = Field(description="folder in include/scripts/sagemaker/ with train.py and inference.py")
    framework: Literal["xgboost"]
    hyperparameters: dict[str, int | float | str | bool] = {}
    compute: Compute
    tuning: Tuning | None = Field(None, description="search for hyperparameters; without it they are as given")

    @property
    def longest(self) -> timedelta:
        """How long the training or the search may take in all, by AWS's own limits."""
        rounds = -(-self.tuning.max_jobs // self.tuning.parallel_jobs) if self.tuning else 1
        return rounds * self.compute.longest

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Training:
        if self.holdout_days * 2 > self.window_days:
            raise ValueError(f"holdout_days of at most half of window_days ({self.window_days}), found {self.holdout_days}")
        return self


class Promotion(Spec):
    """When the challenger takes over; the metric's scale is its own (AUC points for auc)."""

    metric: Literal["auc"] = "auc"
    min_improvement: float = Field(0.0, ge=0, lt=1)
    floor: float = Field(0.5, ge=0, le=1)
    approval: Literal["auto", "manual"] = "auto"
    compute: Compute


class Scoring(Spec):
    """When and on what the champion scores: as soon as features are loaded, by the clock, or only by hand (null)."""

    schedule: Literal["after_features"] | Cron | None
    compute: Compute


class Monitoring(Spec):
    """When drift and accuracy are judged, and what counts as a breach.

    ``accuracy_drop`` is relative, on the scale of Gini = 2 AUC - 1, against the holdout of the champion.
    """

    schedule: Literal["after_scoring"] | Cron | None
    window_days: int = Field(28, ge=7)
    psi_threshold: float = Field(0.2, gt=0)
    psi_alpha: float = Field(0.01, gt=0, lt=1)
    accuracy_drop: float = Field(0.15, gt=0, lt=1)
    min_labels: int = Field(1000, ge=1)
    min_coverage: float = Field(0.9, gt=0, le=1)
    cooldown_days: int = Field(28, ge=0)


class ModelSpec(Spec):
    """One model: names, features, label, and what each stage of its life needs."""

    name: Identifier
    description: str
    owner: str = Field(min_length=3, description="who answers for the model")
    tier: Literal["tier_1", "tier_2", "tier_3"]
    source: Identifier = Field(description="dataset whose ingest DAG feeds the features")
    start_date: date = Field(description="first day with data")
    end_date: date | None = Field(None, description="last day with data; null while data keep coming")
    features: Features
    label: Label
    training: Training
    promotion: Promotion
    scoring: Scoring
    monitoring: Monitoring

    @property
    def package_group(self) -> str:
        """The model package group in the registry (SageMaker allows no underscores)."""
        return self.name.replace("_", "-")


def load_model_spec(path: Path) -> ModelSpec:
    """The model spec in ``path``, whose file name must be the model's name.

    :raises SpecError: naming file, key, expected and found; unknown keys get a suggestion
    """
    content = read_yaml(path)
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise _first_error(path, error) from None
    if spec.name != path.stem:
        raise SpecError(str(path), "name", f"the file's name, {path.stem!r}", spec.name)
    return spec


def _first_error(path: Path, error: ValidationError) -> SpecError:
    """Pydantic's first complaint in the words of :class:`SpecError`."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "file"
    found = first.get("input")
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return SpecError(str(path), key, f"one of the known keys {', '.join(known)}{hint}", first["loc"][-1])
    if first["type"] == "missing":
        return SpecError(str(path), key, "a value (the key is required)", "nothing")
    expected = re.sub(r"^(Value error, |Input should be )", "", first["msg"])
    return SpecError(str(path), key, expected, found if not isinstance(found, (dict, BaseModel)) else "see above")


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the part of a model spec at ``location`` knows."""
    models: list[type[Spec]] = [ModelSpec]
    for part in location:
        fields = [model.model_fields[str(part)].annotation for model in models if part in model.model_fields]
        tagged = [
            model for model in models if "type" in model.model_fields and part in get_args(model.model_fields["type"].annotation)
        ]
        # A part that is neither a field nor a tag is a key of a mapping, whose values are of the same models.
        models = [found for field in fields for found in _specs_in(field)] or tagged or models
    return sorted({name for model in models for name in model.model_fields})


def _specs_in(annotation: Any) -> list[type[Spec]]:
    """The parts of a spec that a field's type names, itself, in a mapping or as alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _specs_in(argument)]


@lru_cache
def load_model_specs(folder: Path) -> tuple[ModelSpec, ...]:
    """All model specs of a folder in the order of their names, read once per process.

    :raises SpecError: for the first file that is wrong
    """
    return tuple(load_model_spec(path) for path in sorted(folder.glob("*.yaml")))
