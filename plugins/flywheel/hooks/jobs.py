"""What Flywheel knows of each kind of AWS job: how to ask for its state, which states are ends, how to stop it.

One table serves the operators (boto3) and the trigger (aiobotocore), so that both halves of a deferred task read the same
truth. An identity is the mapping that names a job to AWS, e.g. ``{"TrainingJobName": "…"}``; it travels through XCom and the
trigger's serialisation, so it holds strings only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath

Identity = dict[str, str]


@dataclass(frozen=True)
class JobKind:
    """One kind of AWS job.

    :param title: what people call it, for messages
    :param client: name of the boto3 client
    :param describe: its method that answers the job's state, called with the identity
    :param status: JMESPath of the state in that answer
    :param reason: JMESPath of AWS's reason for a failure
    :param succeeded: states that are a success
    :param failed: states that are an end without success; every other state means that the job goes on
    :param stop: its method that ends the job
    :param stop_arguments: arguments of ``stop`` from the identity
    :param logs: where the job's log lines are in CloudWatch Logs: (group, prefix of the streams) from the identity
    """

    title: str
    client: str
    describe: str
    status: str
    reason: str
    succeeded: frozenset[str]
    failed: frozenset[str]
    stop: str
    stop_arguments: Callable[[Identity], dict[str, Any]] = field(default=dict)
    logs: Callable[[Identity], list[tuple[str, str]]] = field(default=lambda identity: [])

    def state(self, description: Mapping[str, Any]) -> str:
        """The job's state in an answer of ``describe``."""
        return str(jmespath.search(self.status, description))

    def is_over(self, description: Mapping[str, Any]) -> bool:
        """Whether the job has ended, well or not."""
        return self.state(description) in self.succeeded | self.failed

    def failure(self, description: Mapping[str, Any]) -> str | None:
        """None for a job that ended well, else its end in AWS's words."""
        state = self.state(description)
        if state in self.succeeded:
            return None
        return f"{state}: {jmespath.search(self.reason, description) or 'AWS gave no reason'}"


def _sagemaker(noun: str, title: str) -> JobKind:
    """The three SageMaker jobs differ by a noun only."""
    camel = "".join(part.title() for part in noun.split("_"))
    return JobKind(
        title=title,
        client="sagemaker",
        describe=f"describe_{noun}",
        status=f"{camel}Status",
        # A training job that ran out of time has its reason only in the last transition.
        reason="FailureReason || ExitMessage || SecondaryStatusTransitions[-1].StatusMessage",
        succeeded=frozenset({"Completed"}),
        failed=frozenset({"Failed", "Stopped"}),
        stop=f"stop_{noun}",
        logs=lambda identity: [(f"/aws/sagemaker/{camel}s", f"{identity[f'{camel}Name']}/")],
    )


JOB_KINDS: dict[str, JobKind] = {
    "glue": JobKind(
        title="Glue job run",
        client="glue",
        describe="get_job_run",
        status="JobRun.JobRunState",
        reason="JobRun.ErrorMessage",
        succeeded=frozenset({"SUCCEEDED"}),
        failed=frozenset({"FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"}),
        stop="batch_stop_job_run",
        stop_arguments=lambda identity: {"JobName": identity["JobName"], "JobRunIds": [identity["RunId"]]},
        logs=lambda identity: [
            ("/aws-glue/jobs/output", identity["RunId"]),
            ("/aws-glue/jobs/error", identity["RunId"]),
        ],
    ),
    "emr_serverless": JobKind(
        title="EMR Serverless job run",
        client="emr-serverless",
        describe="get_job_run",
        status="jobRun.state",
        reason="jobRun.stateDetails",
        succeeded=frozenset({"SUCCESS"}),
        failed=frozenset({"FAILED", "CANCELLED"}),
        stop="cancel_job_run",
        logs=lambda identity: [
            (
                "/aws/emr-serverless",
                f"/applications/{identity['applicationId']}/jobs/{identity['jobRunId']}/SPARK_DRIVER/",
            )
        ],
    ),
    "redshift_data": JobKind(
        title="Redshift statement",
        client="redshift-data",
        describe="describe_statement",
        status="Status",
        reason="Error",
        succeeded=frozenset({"FINISHED"}),
        failed=frozenset({"FAILED", "ABORTED"}),
        stop="cancel_statement",
    ),
    "training": _sagemaker("training_job", "SageMaker training job"),
    "processing": _sagemaker("processing_job", "SageMaker processing job"),
    "transform": _sagemaker("transform_job", "SageMaker transform job"),
}
