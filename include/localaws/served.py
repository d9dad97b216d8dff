"""Which calls are answered: what runs for real, and what moto only has to remember. Everything else is refused.

moto answers many calls with something made up: a cluster that runs nothing, a query with no rows, a job that is
complete at once. A caller who believes such an answer is misled, so an operation that is not listed here gets an AWS
error that names it. For services that only keep state every operation is served but the few that would have to be acted
on.
"""

from __future__ import annotations

import importlib
from functools import cache

from localaws.alarm_states import check_alarm
from localaws.calls import Call
from localaws.replies import AwsError

EXECUTING = {
    "glue": "localaws.glue",
    "emr-serverless": "localaws.emr_serverless",
    "redshift-data": "localaws.redshift",
    "sagemaker": "localaws.sagemaker",
}
"""The services whose jobs really run, and our module of each: its ``SERVED`` names the operations that it serves."""

REMEMBERED = {
    "glue": frozenset(
        """
        CreateDatabase GetDatabase GetDatabases UpdateDatabase DeleteDatabase
        CreateTable GetTable GetTables UpdateTable DeleteTable BatchDeleteTable
        GetTableVersion GetTableVersions DeleteTableVersion
        CreatePartition GetPartition UpdatePartition DeletePartition
        BatchCreatePartition BatchGetPartition BatchUpdatePartition BatchDeletePartition
        TagResource UntagResource GetTags
        CreateConnection GetConnection GetConnections
        CreateSecurityConfiguration GetSecurityConfiguration GetSecurityConfigurations DeleteSecurityConfiguration
        """.split()
    ),
    "emr-serverless": frozenset(),
    "redshift-data": frozenset(),
    "sagemaker": frozenset(),
}
"""Of the executing services: operations that only store and return what was given, which moto does truthfully."""

STATE_ONLY: dict[str, frozenset[str]] = {
    "s3": frozenset({"PutBucketReplication", "PutBucketInventoryConfiguration"}),
    "sts": frozenset(),
    "iam": frozenset(
        """
        SimulateCustomPolicy SimulatePrincipalPolicy GenerateServiceLastAccessedDetails GenerateCredentialReport
        """.split()
    ),
    "sns": frozenset(),
    "sqs": frozenset(),
    "events": frozenset("StartReplay CreateConnection CreateApiDestination".split()),
    "cloudwatch": frozenset("PutCompositeAlarm PutAnomalyDetector PutInsightRule PutMetricStream".split()),
    "logs": frozenset("StartQuery PutMetricFilter".split()),
    "secretsmanager": frozenset({"RotateSecret"}),
    "ssm": frozenset("SendCommand StartAutomationExecution StartSession CreateAssociation".split()),
    "kms": frozenset(),
    "dynamodb": frozenset("ExportTableToPointInTime ImportTable".split()),
    "dynamodbstreams": frozenset(),
    "kinesis": frozenset(),
    "firehose": frozenset(),
    "resourcegroupstaggingapi": frozenset(),
}
"""The services that only keep state (moto's), and those of their operations that would have to be acted on."""


def check_served(call: Call) -> None:
    """Refuse what cannot be answered truthfully.

    :raises AwsError: ``UnsupportedOperation``; the message names service and operation. Alarms: see :func:`check_alarm`.
    """
    if call.service in EXECUTING:
        if call.operation in served_operations(call.service):
            return
        why = "it runs nothing for this operation, and makes no answer up"
    elif call.service not in STATE_ONLY:
        why = "the service is not part of it"
    elif call.operation in STATE_ONLY[call.service]:
        why = "it could only store the request, and nothing would act on it"
    elif call.operation == "PutRule" and "ScheduleExpression" in call.parameters:
        why = "it keeps no schedules: only rules with an EventPattern are acted on"
    elif (call.service, call.operation) == ("cloudwatch", "PutMetricAlarm"):
        check_alarm(call.parameters)
        return
    else:
        return
    operation = call.operation or f"{call.method} {call.path}"
    raise AwsError("UnsupportedOperation", f"Flywheel's local AWS does not serve {call.service}:{operation} ({why})")


@cache
def served_operations(service: str) -> frozenset[str]:
    """All operations of an executing service that are answered: run for real, or truthfully remembered."""
    return REMEMBERED[service] | importlib.import_module(EXECUTING[service]).SERVED
