"""What Flywheel knows of each kind of AWS job: how to ask for its state, which states are ends, how to stop, list and show it.

One table serves the operators (boto3) and the trigger (aiobotocore), so that both halves of a deferred task read the same
truth. An identity is the mapping that names a job to AWS, e.g. ``{"TrainingJobName": "…"}``; it travels through XCom and the
trigger's serialisation, so it holds strings only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jmespath
from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink
from botocore.exceptions import BotoCoreError, ClientError

Identity = dict[str, str]

#: Error codes that say "not now": nothing was done, and the same call may be sent again.
THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown",
     "ConcurrentRunsExceededException"}
)  # fmt: skip
#: Error codes with which a service says that it failed by itself, whatever their HTTP status.
FAILED_BY_ITSELF = frozenset(
    {"InternalFailure", "InternalServerError", "InternalServerException", "InternalServiceException", "ServiceUnavailable"}
)


def is_throttled(error: BaseException) -> bool:
    """Whether AWS refused the call for its rate, or for what runs already."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in THROTTLED


def is_unanswered(error: BaseException) -> bool:
    """Whether nobody can tell what became of the call: no answer came (time-out, refused), or the service failed by itself."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response["Error"]["Code"] in FAILED_BY_ITSELF
    return isinstance(error, BotoCoreError)


@dataclass(frozen=True)
class Listed:
    """A job as a list operation tells it.

    :param name: what :func:`flywheel.core.runs.job_name` called it; None where it carries no name
    """

    identity: Identity
    name: str | None
    state: str


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
    :param stopping: states of a job that was told to stop and has not ended yet
    :param stop: its method that ends the job
    :param list_call: its method that lists jobs, the newest first
    :param list_arguments: what that method is called with besides the caller's own (see ``JobOperator.listing``)
    :param name_filter: argument of ``list_call`` that takes the beginning of a name; empty where names are looked through here
    :param items: JMESPath of ``[{identity, name, state}]`` in a page of the list
    :param longest_name: characters that AWS takes
    :param stop_arguments: arguments of ``stop`` from the identity; default: the identity
    :param page: path of the job's page in AWS's console, with the names of the identity
    :param logs: where the job's log lines are in CloudWatch Logs: (group, prefix of the streams) from the identity
    """

    title: str
    client: str
    describe: str
    status: str
    reason: str
    succeeded: frozenset[str]
    failed: frozenset[str]
    stopping: frozenset[str]
    stop: str
    list_call: str
    list_arguments: Mapping[str, Any]
    name_filter: str
    items: str
    page: str
    longest_name: int = 63
    stop_arguments: Callable[[Identity], dict[str, Any]] = field(default=dict)
    logs: Callable[[Identity], list[tuple[str, str]]] = field(default=lambda identity: [])

    def state(self, description: Mapping[str, Any]) -> str:
        """The job's state in an answer of ``describe``."""
        return str(jmespath.search(self.status, description))

    @property
    def ends(self) -> frozenset[str]:
        """All terminal states."""
        return self.succeeded | self.failed

    def is_over(self, description: Mapping[str, Any]) -> bool:
        """Whether the job has ended, well or not."""
        return self.state(description) in self.ends

    def failure(self, description: Mapping[str, Any]) -> str | None:
        """None for a job that ended well, else its end in AWS's words."""
        state = self.state(description)
        if state in self.succeeded:
            return None
        return f"{state}: {jmespath.search(self.reason, description) or 'AWS gave no reason'}"

    def stop_call(self, identity: Identity) -> dict[str, Any]:
        """The arguments of ``stop`` for a job."""
        return self.stop_arguments(identity) or dict(identity)

    def listed(self, page: Mapping[str, Any]) -> list[Listed]:
        """The jobs in one page of ``list_call``."""
        return [Listed(item["identity"], item["name"], item["state"]) for item in jmespath.search(self.items, page) or []]

    def console_url(self, identity: Identity, region: str, partition: str = "aws") -> str:
        """The job's page in AWS's console."""
        return _console(partition) + self.page.format(region=region, **identity)

    def logs_url(self, identity: Identity, region: str, partition: str = "aws") -> str | None:
        """The page of the job's log streams in CloudWatch's console; None for a kind without logs."""
        for group, prefix in self.logs(identity):
            # The console wants names quoted twice, with a dollar sign for the percent sign.
            group, prefix = (quote(quote(text, safe=""), safe="").replace("%", "$") for text in (group, prefix))
            return (
                f"{_console(partition)}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}"
                f"$3FlogStreamNameFilter$3D{prefix}"
            )
        return None


def _console(partition: str) -> str:
    domain = BaseAwsLink.get_aws_domain(partition) or "aws.amazon.com"
    return BASE_AWS_CONSOLE_LINK.format(aws_domain=domain)


def _sagemaker(noun: str, title: str, page: str, **other: Any) -> JobKind:
    """The SageMaker jobs differ by a noun only."""
    camel = "".join(part.title() for part in noun.split("_"))
    values: dict[str, Any] = {
        "title": title,
        "client": "sagemaker",
        "describe": f"describe_{noun}",
        "status": f"{camel}Status",
        # A training job that ran out of time has its reason only in the last transition.
        "reason": "FailureReason || ExitMessage || SecondaryStatusTransitions[-1].StatusMessage",
        "succeeded": frozenset({"Completed"}),
        "failed": frozenset({"Failed", "Stopped"}),
        "stopping": frozenset({"Stopping"}),
        "stop": f"stop_{noun}",
        "list_call": f"list_{noun}s",
        "list_arguments": {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100},
        "name_filter": "NameContains",
        "items": f"{camel}Summaries[].{{identity: {{{camel}Name: {camel}Name}}, name: {camel}Name, state: {camel}Status}}",
        "page": f"/sagemaker/home?region={{region}}#/{page}/{{{camel}Name}}",
        "logs": lambda identity: [(f"/aws/sagemaker/{camel}s", f"{identity[f'{camel}Name']}/")],
    }
    return JobKind(**values | other)


JOB_KINDS: dict[str, JobKind] = {
    "glue": JobKind(
        title="Glue job run",
        client="glue",
        describe="get_job_run",
        status="JobRun.JobRunState",
        reason="JobRun.ErrorMessage",
        succeeded=frozenset({"SUCCEEDED"}),
        failed=frozenset({"FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"}),
        stopping=frozenset({"STOPPING"}),
        stop="batch_stop_job_run",
        stop_arguments=lambda identity: {"JobName": identity["JobName"], "JobRunIds": [identity["RunId"]]},
        list_call="get_job_runs",
        list_arguments={"MaxResults": 200},
        name_filter="",
        items='JobRuns[].{identity: {JobName: JobName, RunId: Id}, name: Arguments."--flywheel_run_name", state: JobRunState}',
        page="/gluestudio/home?region={region}#/job/{JobName}/run/{RunId}",
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
        stopping=frozenset({"CANCELLING"}),
        stop="cancel_job_run",
        list_call="list_job_runs",
        list_arguments={"maxResults": 50},
        name_filter="",
        items="jobRuns[].{identity: {applicationId: applicationId, jobRunId: id}, name: name, state: state}",
        page="/emr/home?region={region}#/serverless-applications/{applicationId}/{jobRunId}",
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
        stopping=frozenset(),
        stop="cancel_statement",
        list_call="list_statements",
        list_arguments={"Status": "ALL", "MaxResults": 100},
        name_filter="StatementName",
        items="Statements[].{identity: {Id: Id}, name: StatementName, state: Status}",
        # Statements have no page of their own.
        page="/redshiftv2/home?region={region}#serverless-query-and-database-monitoring",
    ),
    "training": _sagemaker("training_job", "SageMaker training job", "jobs"),
    "tuning": _sagemaker(
        "hyper_parameter_tuning_job",
        "SageMaker tuning job",
        "hyper-tuning-jobs",
        longest_name=32,
        # Its lines are those of its training jobs, whose names begin with its own.
        logs=lambda identity: [("/aws/sagemaker/TrainingJobs", f"{identity['HyperParameterTuningJobName']}-")],
    ),
    "processing": _sagemaker("processing_job", "SageMaker processing job", "processing-jobs"),
    "transform": _sagemaker("transform_job", "SageMaker transform job", "transform-jobs"),
}
