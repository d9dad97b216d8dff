"""No answer is made up: what is not served is refused, in the service's own protocol."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

REFUSED = [
    ("sagemaker", "create_endpoint", {"EndpointName": "e", "EndpointConfigName": "c"}, "sagemaker:CreateEndpoint"),
    ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"1"}, "sagemaker-runtime:InvokeEndpoint"),
    ("sagemaker", "create_experiment", {"ExperimentName": "e"}, "sagemaker:CreateExperiment"),
    ("glue", "start_crawler", {"Name": "c"}, "glue:StartCrawler"),
    ("glue", "start_workflow_run", {"Name": "w"}, "glue:StartWorkflowRun"),
    ("athena", "start_query_execution", {"QueryString": "select 42"}, "athena:StartQueryExecution"),
    ("lambda", "invoke", {"FunctionName": "f"}, "lambda:Invoke"),
    ("stepfunctions", "list_state_machines", {}, "stepfunctions:ListStateMachines"),
    ("emr", "list_clusters", {}, "emr:ListClusters"),
    ("redshift-serverless", "list_workgroups", {}, "redshift-serverless:ListWorkgroups"),
    ("mwaa", "list_environments", {}, "mwaa:ListEnvironments"),
    ("ec2", "describe_instances", {}, "ec2:DescribeInstances"),
    ("ce", "list_cost_category_definitions", {}, "ce:ListCostCategoryDefinitions"),
    ("events", "put_rule", {"Name": "r", "ScheduleExpression": "rate(1 day)"}, "events:PutRule"),
    (
        "cloudwatch",
        "put_metric_alarm",
        {
            "AlarmName": "a",
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 1,
            "Metrics": [{"Id": "m", "Expression": "a + b"}],
        },
        "cloudwatch:PutMetricAlarm",
    ),
]


@pytest.mark.parametrize(("service", "operation", "parameters", "named"), REFUSED, ids=[r[3] for r in REFUSED])
def test_what_would_be_made_up_is_refused(aws, service, operation, parameters, named):
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service, inject_host_prefix=False), operation)(**parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == "UnsupportedOperation"
    assert f"Flywheel's local AWS does not serve {named}" in error["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_moto_remembers_truthfully_is_served(aws):
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "served", "Description": "d"})
    table = {"Name": "t", "PartitionKeys": [{"Name": "ds", "Type": "string"}]}
    glue.create_table(DatabaseName="served", TableInput=table)
    glue.create_partition(DatabaseName="served", TableName="t", PartitionInput={"Values": ["2013-01-01"]})
    assert glue.get_database(Name="served")["Database"]["Description"] == "d"
    assert glue.get_partitions(DatabaseName="served", TableName="t")["Partitions"][0]["Values"] == ["2013-01-01"]


def test_an_operation_that_moto_lacks_is_refused_too(aws):
    with pytest.raises(ClientError, match="does not serve iam:SetSecurityTokenServicePreferences"):
        aws.client("iam").set_security_token_service_preferences(GlobalEndpointTokenVersion="v2Token")
