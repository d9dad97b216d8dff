"""Feature definitions: what a feature group is at one version, one YAML file of ``include/features/`` each.

``<group>_v<N>.yaml``: versions live side by side, each with its own zones (``features/<group>/v<N>``), its own tables
(``features.<group>_v<N>``) and its own way through the DAG ``load_features_<group>``. What a version is never changes once rows
of it are served: a change is the next version. One definition serves all who read the features: training, scoring, monitoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from flywheel.core.errors import SpecError
from flywheel.core.spec_files import Identifier, Spec, read_spec

Tier = Literal["tier_1", "tier_2", "tier_3"]
#: The columns that every table of features has besides, and what a training snapshot calls the labels beside the features.
RESERVED = ("entity_id", "event_time", "ds", "checksum", "label", "naive_label")
SQL_TYPES = {"int": "INTEGER", "bigint": "BIGINT", "double": "DOUBLE PRECISION", "category": "VARCHAR(64)"}


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"another name than {', '.join(RESERVED)}, which every table or snapshot has besides")
    return name


FeatureName = Annotated[Identifier, AfterValidator(_not_reserved), Field(json_schema_extra={"not": {"enum": list(RESERVED)}})]


class FeatureColumn(Spec):
    """One feature: its type, and whether it only describes the context (seasons) and is never by itself a reason to retrain."""

    type: Literal["int", "bigint", "double", "category"]
    context: bool = False
    meaning: str = ""

    @property
    def sql_type(self) -> str:
        """The Redshift type of the column."""
        return SQL_TYPES[self.type]


class Label(Spec):
    """What is predicted, and how many days after the event it becomes known.

    A class is 0 or 1, and is predicted by its probability. A number is forecast; where it has a season, its naive forecast is the
    label of the same entity a season before.
    """

    meaning: str
    lag_days: int = Field(ge=0, le=365)
    kind: Literal["class", "number"] = "class"
    season_days: int | None = Field(None, ge=1, le=400, description="of a number: days back to the label of its naive forecast")

    @property
    def type(self) -> Literal["int", "double"]:
        """The type of its column, as of a feature."""
        return "int" if self.kind == "class" else "double"

    @property
    def sql_type(self) -> str:
        """The Redshift type of the column."""
        return SQL_TYPES[self.type]

    @property
    def judged_by(self) -> Literal["gini", "wape", "naive_ratio"]:
        """The metric in which a champion must not lose; the ratio, for a season that is hard for everybody is no decay."""
        if self.kind == "class":
            return "gini"
        return "naive_ratio" if self.season_days else "wape"

    @model_validator(mode="after")
    def _the_naive_forecast_can_be_made(self) -> Label:
        if self.season_days is not None and self.kind == "class":
            raise ValueError(f"season_days of null for a class, found {self.season_days}")
        if self.season_days is not None and self.season_days < self.lag_days:
            raise ValueError(
                f"season_days of at least lag_days ({self.lag_days}), for the label to be known, found {self.season_days}"
            )
        return self


class Features(Spec):
    """A feature group at one version, its labels, and the Spark module that computes both."""

    group: Identifier
    version: int = Field(ge=1)
    description: str
    owner: str = Field(min_length=3, description="who answers for the features")
    tier: Tier = Field("tier_2", description="how soon to act when they do not come; that of the most urgent model on them")
    source: Identifier = Field(description="dataset whose ingest DAG feeds the features")
    start_date: date = Field(description="first day with data")
    end_date: date | None = Field(None, description="last day with data; null while data keep coming")
    module: Identifier = Field(description="module in include/scripts/emr/features/")
    inputs: tuple[Identifier, ...] = Field(min_length=1, description="datasets that the features are made of")
    label_inputs: tuple[Identifier, ...] = Field(min_length=1, description="datasets that the labels are made of")
    lookback_days: int = Field(0, ge=0, le=400, description="days before the window that the features look at")
    chunk_days: int = Field(31, ge=1, le=400, description="the most days that one feature job takes")
    columns: dict[FeatureName, FeatureColumn] = Field(min_length=1)
    label: Label

    @property
    def table(self) -> str:
        """Redshift table without schema, of the features and of the labels."""
        return f"{self.group}_v{self.version}"

    @property
    def zone(self) -> str:
        """Where the version lies below ``features/`` and ``labels/`` on S3."""
        return f"{self.group}/v{self.version}"

    def context(self) -> list[str]:
        """The features that are watched only: their drift by itself is no reason to retrain."""
        return [name for name, column in self.columns.items() if column.context]

    def names(self, *types: str) -> list[str]:
        """Feature names in the order of the definition, all or only those of the given types."""
        return [name for name, column in self.columns.items() if not types or column.type in types]


def load_features(path: Path) -> Features:
    """The definition in ``path``, whose file name must be ``<group>_v<version>``.

    :raises SpecError: naming file, key, expected and found; unknown keys get a suggestion
    """
    features = read_spec(path, Features)
    if features.table != path.stem:
        raise SpecError(str(path), "group and version", f"those of the file's name, {path.stem!r}", features.table)
    return features


@lru_cache
def load_feature_groups(folder: Path) -> Mapping[str, Mapping[int, Features]]:
    """All definitions of a folder, by group and version, the oldest version first; read once per process.

    :raises SpecError: for the first file that is wrong; or the versions of a group have different sources or kinds of labels
    """
    groups: dict[str, dict[int, Features]] = {}
    paths = {path: load_features(path) for path in sorted(folder.glob("*.yaml"))}
    for path, features in sorted(paths.items(), key=lambda item: (item[1].group, item[1].version)):
        versions = groups.setdefault(features.group, {})
        for other in versions.values():
            if other.source != features.source:  # one DAG loads them all
                expected = f"the source of version {other.version}, {other.source!r}"
                raise SpecError(str(path), "source", expected, features.source)
            if other.label.kind != features.label.kind:  # challenger and champion are judged by one metric
                expected = f"the kind of version {other.version}, {other.label.kind!r}"
                raise SpecError(str(path), "label.kind", expected, features.label.kind)
        versions[features.version] = features
    return groups
