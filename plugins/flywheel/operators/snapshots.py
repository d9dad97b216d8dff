"""What a training run saw, pinned so that it can be seen again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from flywheel.core.artifacts import artifacts_version
from flywheel.core.contracts import Contract
from flywheel.core.specs import ModelSpec
from flywheel.hooks.jobs import Identity
from flywheel.operators.redshift import RedshiftStatementsOperator, read_rows
from flywheel.settings import include_dir

if TYPE_CHECKING:
    from airflow.sdk import Context


class PinSnapshotOperator(RedshiftStatementsOperator):
    """Unloads the rows of a training run to S3 and writes down what they are (API: ``BatchExecuteStatement``,
    ``GetStatementResult``; S3 ``GetObject``, ``PutObject``).

    The last statement describes the parts of the snapshot, in the same transaction that unloads them. That, what UNLOAD says of
    its files (``MANIFEST VERBOSE``), and the versions of everything that made the rows become ``<snapshot>/manifest.json``:
    written last, it makes the snapshot whole. A snapshot that has one is never written again, also when the task is cleared:
    a run trains on what it has pinned, whatever became of the tables since. Another training run pins another snapshot.

    :param model: the model that is trained
    :param contracts: of the datasets that its features and labels are made of
    :param snapshot: S3 URI without a slash at the end (templated)
    :param run_key: the run's name (templated)
    :param sql: UNLOADs, then one statement with a row per part: ``part``, ``first_day``, ``last_day``, ``feature_version``,
        ``row_count``, ``features_checksum``, ``labels_checksum`` (templated)
    :param champion_version: the version of the features that the champion was trained on (templated)
    Returns the manifest without its list of files.
    :raises ValueError: UNLOAD's own manifests say something else than the description; or the run has pinned nothing to judge the
        present champion on, because another was champion then
    """

    template_fields: Sequence[str] = (*RedshiftStatementsOperator.template_fields, "snapshot", "run_key", "champion_version")

    def __init__(
        self,
        *,
        model: ModelSpec,
        contracts: Mapping[str, Contract],
        snapshot: str,
        run_key: str = "{{ run_key() }}",
        champion_version: str = "{{ features().version }}",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.model, self.contracts = model, dict(contracts)
        self.snapshot, self.run_key, self.champion_version = snapshot, run_key, champion_version

    def execute(self, context: Context) -> Any:
        """Pins, unless this run has pinned before."""
        there = self._read(f"{self.snapshot}/manifest.json")
        if there is None:
            return super().execute(context)
        judged_on = {str(part["feature_version"]) for name, part in there["parts"].items() if name != "train"}
        if self.champion_version not in judged_on:
            raise ValueError(
                f"{self.snapshot}/manifest.json: expected a holdout with features of version {self.champion_version}, for the "
                f"champion, found {', '.join(sorted(judged_on))}: another was champion when this run pinned. Start a new run"
            )
        self.log.info("%s is pinned since %s: the run stays with it", self.snapshot, there["pinned_at"])
        return _without_files(there)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """Writes the manifest."""
        last = description["SubStatements"][-1]["Id"]
        parts = sorted((self._part(row) for row in read_rows(client, last)), key=lambda part: part["part"])
        (columns,) = (part["columns"] for part in parts if part["part"] == "train")
        features = self.model.features
        manifest = {
            "model": self.model.name,
            "run_key": self.run_key,
            "pinned_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "features": {"group": features.group, "version": features.version},
            "contracts": {name: contract.version for name, contract in sorted(self.contracts.items())},
            "code": artifacts_version(include_dir()),
            "schema_hash": _hash(columns),
            "content_hash": _hash([{key: part[key] for key in part if key not in ("files", "columns")} for part in parts]),
            "parts": {part["part"]: part for part in parts},
        }
        bucket, key = _split(f"{self.snapshot}/manifest.json")
        self.client_with("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest, indent=1).encode())
        self.log.info("Pinned %s: %s", self.snapshot, {part["part"]: part["rows"] for part in parts})
        return _without_files(manifest)

    def _part(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A part of the snapshot, as the tables and as UNLOAD's manifest tell it."""
        uri = f"{self.snapshot}/{row['part']}/manifest"
        told = self._read(uri)
        files = {entry["url"]: entry["meta"]["record_count"] for entry in (told or {"entries": []})["entries"]}
        if told is None or sum(files.values()) != row["row_count"]:
            raise ValueError(f"{uri}: expected the {row['row_count']} rows that the tables have, found {sum(files.values())}")
        return {
            "part": row["part"],
            "start": row["first_day"],
            "end": row["last_day"],
            "feature_version": row["feature_version"],
            "rows": row["row_count"],
            "features_checksum": row["features_checksum"],
            "labels_checksum": row["labels_checksum"],
            "columns": {column["name"]: column["type"]["base"] for column in told["schema"]["elements"]},
            "files": files,
        }

    def _read(self, uri: str) -> dict[str, Any] | None:
        """The JSON at an S3 URI, if there is any."""
        bucket, key = _split(uri)
        try:
            return dict(json.loads(self.client_with("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _without_files(manifest: Mapping[str, Any]) -> dict[str, Any]:
    parts = manifest["parts"].items()
    return {**manifest, "parts": {name: {k: v for k, v in part.items() if k not in ("files", "columns")} for name, part in parts}}
