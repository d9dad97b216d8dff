"""The model spec: everything that makes one model, in one YAML file of ``include/models/``.

The DAGs know nothing about any model; they read these objects. A key that is not here, or a value that cannot be, raises
:class:`SpecError` with file, key, what was expected and what was found. What the model's features are is in a file of its own
(:mod:`flywheel.core.features`), of which a spec names the version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flywheel.core.accuracy import AccuracyRules
from flywheel.core.errors import SpecError
from flywheel.core.features import Features, Label, Tier, load_feature_groups
from flywheel.core.spec_files import Identifier, Spec, read_spec
from flywheel.core.watch import Rules

Cron = Annotated[str, Field(pattern=r"^(\S+ ){4}\S+$", description="cron expression of five fields, UTC")]
Scaling = Literal["auto", "linear", "logarithmic", "reverse_logarithmic"]
InstanceType = Annotated[
    str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", description="a SageMaker instance type, e.g. ml.m5.xlarge")
]


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


#: What challenger and champion are compared by, for each kind of label.
METRICS = {"class": "auc", "number": "wape"}


class Promotion(Spec):
    """When the challenger takes over; the metric's scale is its own (AUC points for auc, shares of what came for wape)."""

    metric: Literal["auc", "wape"] = Field("auc", description="auc for a label that is a class, wape for a number")
    min_improvement: float = Field(0.0, ge=0, lt=1)
    floor: float = Field(0.5, ge=0, le=1, description="the worst value of the metric with which a first champion may start")
    approval: Literal["auto", "manual"] = "auto"
    compute: Compute


class Scoring(Spec):
    """When and on what the champion scores: as soon as features are loaded, by the clock, or only by hand (null)."""

    schedule: Literal["after_features"] | Cron | None
    compute: Compute


Level = Literal["note", "alert", "retrain"]


class Monitoring(Spec):
    """When drift and accuracy are judged, what counts as a breach, and what a breach may start.

    Losses of accuracy are relative, against the holdout of the champion: on the scale of Gini = 2 AUC - 1; for labels that are
    numbers, on that of the ratio to the seasonal naive forecast, or of WAPE where there is no season.
    """

    schedule: Literal["after_scoring"] | Cron | None
    window_days: int = Field(28, ge=7)
    counting: Literal["redshift", "spark"] = Field("redshift", description="what counts the features, once a run")
    psi_rule: Literal["flywheel", "textbook"] = Field("flywheel", description="textbook: any PSI over 0.2 retrains")
    psi_threshold: float = Field(0.2, gt=0)
    psi_alpha: float = Field(0.01, gt=0, lt=1, description="chance of any false drift in a look at all features")
    driver_share: float = Field(0.02, ge=0, lt=1, description="share of the model's gain from which drift of a feature retrains")
    accuracy_drop: float = Field(0.15, gt=0, lt=1, description="loss over the window that is a breach, if there is evidence")
    accuracy_margin: float = Field(0.05, gt=0, lt=1, description="the evidence must be that the loss is greater than this")
    min_labels: int = Field(1000, ge=1, description="in the window; also what a segment needs to be judged by itself")
    min_coverage: float = Field(0.9, gt=0, le=1, description="share of a day's predictions with a label for the day to count")
    calibration_tolerance: float = Field(0.25, gt=0, description="predicted over observed may be wrong by so much")
    calibration_level: Level = Field("note", description="what it is when it is wrong by more")
    segments: tuple[Identifier, ...] = Field((), description="categories by whose levels accuracy is watched as well")
    segment_level: Level = Field("note", description="what it is when a segment alone has got worse")
    cooldown_days: int = Field(
        49, ge=0, description="days of new data from the last training to one that a breach starts; the newest are its holdout"
    )
    retrainings_per_month: int = Field(1, ge=0, le=30, description="that monitoring may start for any 30 days judged")
    max_age_days: int | None = Field(
        63, ge=7, description="a model whose last training ended so many days ago is retrained without a breach; null: never"
    )
    quiet_days: int = Field(7, ge=1, description="days judged for which people are not told the same cause again")
    silence_hours: int = Field(
        36, ge=1, le=168, description="hours without a monitoring run after which the dead man's alarm rings"
    )

    def drift_rules(self, context: Iterable[str]) -> Rules:
        """What drift is judged by.

        :param context: the features that are only watched
        """
        return Rules(self.psi_rule, frozenset(context), self.driver_share, threshold=self.psi_threshold, alpha=self.psi_alpha)

    def accuracy_rules(self, metric: str = "gini") -> AccuracyRules:
        """What accuracy is judged by.

        :param metric: of :data:`flywheel.core.accuracy.METRICS`
        """
        return AccuracyRules(
            max_drop=self.accuracy_drop,
            margin=self.accuracy_margin,
            min_labels=self.min_labels,
            min_coverage=self.min_coverage,
            calibration_tolerance=self.calibration_tolerance,
            calibration_level=self.calibration_level,
            segment_level=self.segment_level,
            metric=metric,
        )

    @model_validator(mode="after")
    def _the_margin_is_not_beyond_the_breach(self) -> Monitoring:
        if self.accuracy_margin > self.accuracy_drop:
            raise ValueError(f"accuracy_margin of at most accuracy_drop ({self.accuracy_drop}), found {self.accuracy_margin}")
        return self

    @model_validator(mode="after")
    def _silence_is_told_from_a_rare_schedule(self) -> Monitoring:
        daily = self.schedule in ("after_scoring", None) or self.schedule.split()[2:] == ["*"] * 3
        if self.silence_hours is not None and not daily:  # CloudWatch looks back a week at most
            raise ValueError(f"silence_hours of null where schedule is not daily ({self.schedule}), found {self.silence_hours}")
        return self


class PinnedFeatures(Spec):
    """The version of a feature group that the model is trained on: a file of ``include/features/``."""

    group: Identifier
    version: int = Field(ge=1)


class _Model(Spec):
    """What a model's file says and its spec knows alike."""

    name: Identifier
    description: str
    owner: str = Field(min_length=3, description="who answers for the model")
    tier: Tier
    training: Training
    promotion: Promotion
    scoring: Scoring
    monitoring: Monitoring


class ModelFile(_Model):
    """One model: names, features, and what each stage of its life needs."""

    features: PinnedFeatures


class ModelSpec(_Model):
    """One model, with the definitions of its features at hand.

    ``feature_version`` is the version that the next challenger is trained on. The champion may be of another; all versions of the
    group are in ``feature_versions``.
    """

    feature_version: int
    feature_versions: Mapping[int, Features]

    @property
    def features(self) -> Features:
        """The features that the spec pins."""
        return self.feature_versions[self.feature_version]

    @property
    def label(self) -> Label:
        """What is predicted."""
        return self.features.label

    @property
    def start_date(self) -> date:
        """First day with data."""
        return self.features.start_date

    @property
    def end_date(self) -> date | None:
        """Last day with data; None while data keep coming."""
        return self.features.end_date

    @property
    def package_group(self) -> str:
        """The model package group in the registry (SageMaker allows no underscores)."""
        return self.name.replace("_", "-")


def load_model_spec(path: Path) -> ModelSpec:
    """The model spec in ``path``, whose file name must be the model's name.

    Its features are defined in ``features``, the folder beside the file's own.

    :raises SpecError: naming file, key, expected and found; unknown keys get a suggestion
    """
    file = read_spec(path, ModelFile)
    if file.name != path.stem:
        raise SpecError(str(path), "name", f"the file's name, {path.stem!r}", file.name)
    defined = load_feature_groups(path.parent.parent / "features")
    pinned = file.features
    if pinned.group not in defined:
        raise SpecError(str(path), "features.group", f"one of {_listed(defined)}, which include/features defines", pinned.group)
    versions = defined[pinned.group]
    if pinned.version not in versions:
        known = _listed(definition.table for definition in versions.values())
        raise SpecError(str(path), "features.version", f"one of those that include/features defines ({known})", pinned.version)
    kind = versions[pinned.version].label.kind
    if file.promotion.metric != (metric := METRICS[kind]):
        raise SpecError(str(path), "promotion.metric", f"{metric!r}, for the label is a {kind}", file.promotion.metric)
    categories = versions[pinned.version].names("category")
    for name in file.monitoring.segments:
        if name not in categories:
            table = versions[pinned.version].table
            raise SpecError(str(path), "monitoring.segments", f"categories of {table} ({_listed(categories)})", name)
    parts = {name: getattr(file, name) for name in _Model.model_fields}
    return ModelSpec(**parts, feature_version=pinned.version, feature_versions=versions)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


@lru_cache
def load_model_specs(folder: Path) -> tuple[ModelSpec, ...]:
    """All model specs of a folder in the order of their names, read once per process.

    :raises SpecError: for the first file that is wrong
    """
    return tuple(load_model_spec(path) for path in sorted(folder.glob("*.yaml")))
