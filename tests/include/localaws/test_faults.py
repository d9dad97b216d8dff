"""Faults of calls: errors, lost and refused connections, calls that are held, and the command line for them."""

from __future__ import annotations

import http.client
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError
from fault_helpers import Faults, journal
from job_helpers import wait_for

INCLUDE = Path(__file__).resolve().parents[3] / "include"
NUMBERS = itertools.count(1)

CALLER = """
import sys, boto3
sqs = boto3.client("sqs", endpoint_url=sys.argv[1], region_name="us-east-1",
                   aws_access_key_id="test", aws_secret_access_key="test")
sqs.create_queue(QueueName=sys.argv[2])
"""


@pytest.fixture
def faults(aws: Any) -> Iterator[Faults]:
    """The faults of the session's local AWS, removed after the test."""
    found = Faults(aws.endpoint)
    yield found
    found.clear()


@pytest.fixture
def sqs(aws: Any) -> Any:
    """A client that calls once and never again by itself."""
    return aws.client("sqs", retries={"max_attempts": 0}, read_timeout=20)


@pytest.fixture
def name() -> str:
    """A queue's name of the test's own."""
    return f"faults-{next(NUMBERS)}"


def exists(sqs: Any, name: str) -> bool:
    return any(url.endswith(f"/{name}") for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []))


class Calling(threading.Thread):
    """A call in a thread of its own: what it returned, or the error that it raised."""

    def __init__(self, call: Callable[[], Any]):
        super().__init__(daemon=True)
        self.call, self.answer, self.error = call, None, None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.call()
        except (ClientError, BotoCoreError) as error:
            self.error = error

    def ended(self) -> Calling:
        self.join(20)
        assert not self.is_alive(), "the call has not ended after 20 s"
        return self


def test_an_error_is_answered_and_nothing_executed(faults: Faults, sqs: Any, name: str) -> None:
    error = {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400}
    fault = faults.add(service="sqs", operation="CreateQueue", match=f'"{name}"', do={"error": error})
    with pytest.raises(ClientError) as raised:
        sqs.create_queue(QueueName=name)
    answer = raised.value.response
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("ThrottlingException", "Rate exceeded")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert not exists(sqs, name)
    assert faults.see(fault)["hits"] == 1
    sqs.create_queue(QueueName=name)  # once was asked for
    assert exists(sqs, name)


@pytest.mark.parametrize("service", ["sagemaker", "glue", "emr-serverless", "redshift-data", "s3", "sns", "cloudwatch"])
def test_the_error_is_written_in_each_services_protocol(aws: Any, faults: Faults, service: str) -> None:
    operations = {
        "sagemaker": lambda client: client.list_training_jobs(),
        "glue": lambda client: client.get_job(JobName="none"),
        "emr-serverless": lambda client: client.get_job_run(applicationId="a", jobRunId="b"),
        "redshift-data": lambda client: client.list_statements(),
        "s3": lambda client: client.get_object(Bucket="b", Key="k"),
        "sns": lambda client: client.list_topics(),
        "cloudwatch": lambda client: client.list_metrics(),
    }
    error = {"code": "ServiceUnavailable", "message": "<try> & again", "status": 503}
    fault = faults.add(service=service, operation=".*", times=None, do={"error": error})
    with pytest.raises(ClientError) as raised:
        operations[service](aws.client(service, retries={"max_attempts": 0}))
    assert raised.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert raised.value.response["Error"]["Message"] == "<try> & again"
    assert faults.see(fault)["hits"] == 1


def test_after_an_error_that_came_too_late_the_work_is_done(aws: Any, faults: Faults, sqs: Any, name: str) -> None:
    error = {"code": "InternalFailure", "message": "", "status": 500}
    fault = faults.add(service="sqs", operation="CreateQueue", do={"error_after": error})
    with pytest.raises(ClientError, match="InternalFailure"):
        sqs.create_queue(QueueName=name)
    assert exists(sqs, name)
    line = next(line for line in journal(aws.root) if line.get("resource") == name)
    assert (line["status"], line["error"], line["fault"]) == (500, "InternalFailure", f"{fault}: error_after")


def test_a_refused_connection_executes_nothing(aws: Any, faults: Faults, sqs: Any, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"refuse": True})
    with pytest.raises(ConnectionClosedError):
        sqs.create_queue(QueueName=name)
    line = next(line for line in journal(aws.root) if line.get("resource") == name)
    assert (line["status"], line["error"], line["fault"]) == (0, None, f"{fault}: refuse")
    assert not exists(sqs, name)


def test_a_lost_answer_was_executed(aws: Any, faults: Faults, sqs: Any, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"lose": True})
    with pytest.raises(ConnectionClosedError):
        sqs.create_queue(QueueName=name)
    line = next(line for line in journal(aws.root) if line.get("resource") == name)
    assert (line["status"], line["error"], line["fault"]) == (200, None, f"{fault}: lose")
    assert exists(sqs, name)


def test_an_upload_to_s3_can_be_refused_lost_and_matched_by_its_path(aws: Any, faults: Faults) -> None:
    s3 = aws.client("s3", retries={"max_attempts": 0})
    s3.create_bucket(Bucket="faulty")
    body = b"x" * 3_000_000  # more than the connection buffers: it is still being sent
    faults.add(service="s3", operation="PutObject", match="^/faulty/a/", do={"refuse": True})
    faults.add(service="s3", operation="PutObject", match="^/faulty/a/", do={"lose": True})
    s3.put_object(Bucket="faulty", Key="b/a", Body=body)
    for _ in range(2):
        assert "a/1" not in [found["Key"] for found in s3.list_objects_v2(Bucket="faulty")["Contents"]]
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket="faulty", Key="a/1", Body=body)
    assert s3.get_object(Bucket="faulty", Key="a/1")["Body"].read() == body


def test_closed_connections_leave_no_trace_on_stderr(start_local_aws: Any, tmp_path: Path, name: str) -> None:
    running = start_local_aws(tmp_path)
    faults, sqs = Faults(running.endpoint), running.client("sqs", retries={"max_attempts": 0})
    for deed in ("refuse", "lose"):
        faults.add(service="sqs", operation="CreateQueue", do={deed: True})
        with pytest.raises(ConnectionClosedError):
            sqs.create_queue(QueueName=name)
    assert running.stop() == 0
    assert running.errors == []


def test_a_client_that_tries_again_gets_over_two_throttled_calls(aws: Any, faults: Faults, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", times=2, do={"error": {"code": "ThrottlingException"}})
    answer = aws.client("sqs", retries={"max_attempts": 5}).create_queue(QueueName=name)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert faults.see(fault)["hits"] == 2


def test_skipped_calls_pass_and_only_so_many_are_struck(faults: Faults, sqs: Any) -> None:
    faults.add(service="sqs", operation="List.*", skip=2, times=2, do={"error": {"code": "Busy"}})
    struck = []
    for _ in range(6):
        try:
            sqs.list_queues()
            struck.append(False)
        except ClientError:
            struck.append(True)
    assert struck == [False, False, True, True, False, False]


def test_an_outage_of_so_many_seconds_ends_by_itself(faults: Faults, sqs: Any) -> None:
    fault = faults.add(service="sqs", operation=".*", seconds=0.5, do={"error": {"code": "Busy", "status": 503}})
    assert faults.see(fault)["times"] is None
    time.sleep(0.6)  # counts from its first strike only
    began = time.monotonic()
    with pytest.raises(ClientError):
        sqs.list_queues()

    def works() -> bool:
        try:
            return bool(sqs.list_queues())
        except ClientError:
            return False

    wait_for(works, bool)
    assert time.monotonic() - began >= 0.45
    assert faults.see(fault)["hits"] >= 2


def test_the_operation_and_the_parameters_must_fit(faults: Faults, sqs: Any, name: str) -> None:
    status, told = faults.ask("POST", body={"service": "sqs", "operation": "Create", "do": {"refuse": True}})
    assert (status, told["error"]) == (
        400,
        "operation: expected a regular expression for operations of sqs, found 'Create'",
    )
    faults.add(service="sqs", operation="CreateQueue", match='"QueueName": "other', do={"refuse": True})
    faults.add(service="sns", operation="CreateTopic", do={"refuse": True})
    sqs.create_queue(QueueName=name)
    with pytest.raises(ConnectionClosedError):
        sqs.create_queue(QueueName="other-queue")


def test_a_held_call_stops_nobody_else_and_goes_on_when_it_is_released(faults: Faults, sqs: Any, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": "before"}})
    calling = Calling(lambda: sqs.create_queue(QueueName=name))
    (held,) = wait_for(lambda: faults.held(fault), bool)
    assert (held["operation"], held["resource"], held["when"]) == ("CreateQueue", name, "before")
    assert not exists(sqs, name)  # and this call is answered meanwhile
    assert faults.ask("POST", f"/{fault}/release") == (200, {"released": 1})
    assert calling.ended().answer["QueueUrl"].endswith(name)
    assert faults.held(fault) == []
    sqs.create_queue(QueueName=name)  # once was asked for


def test_a_call_that_is_held_afterwards_has_been_executed(faults: Faults, sqs: Any, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": "after"}})
    calling = Calling(lambda: sqs.create_queue(QueueName=name))
    wait_for(lambda: faults.held(fault), bool)
    assert exists(sqs, name)
    faults.ask("POST", f"/{fault}/release")
    assert calling.ended().answer["QueueUrl"].endswith(name)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_call_can_be_refused(aws: Any, faults: Faults, sqs: Any, name: str, when: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": when}})
    calling = Calling(lambda: sqs.create_queue(QueueName=name))
    wait_for(lambda: faults.held(fault), bool)
    assert faults.ask("POST", f"/{fault}/release", {"refuse": True}) == (200, {"released": 1})
    assert isinstance(calling.ended().error, ConnectionClosedError)
    assert exists(sqs, name) == (when == "after")
    line = next(line for line in journal(aws.root) if line.get("resource") == name)
    assert line["status"] == (200 if when == "after" else 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_client_had_asked_for_is_executed_only_if_that_came_first(
    aws: Any, faults: Faults, sqs: Any, name: str, when: str
) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": when}})
    client = subprocess.Popen([sys.executable, "-c", CALLER, aws.endpoint, name])
    wait_for(lambda: faults.held(fault), bool)
    client.kill()
    client.wait(20)
    assert faults.ask("POST", f"/{fault}/release")[1] == {"released": 1}
    line = wait_for(lambda: [line for line in journal(aws.root) if line.get("resource") == name and "fault" in line], bool)[0]
    assert line["status"] == (200 if when == "after" else 0)
    assert exists(sqs, name) == (when == "after")


def test_a_held_call_tells_the_port_of_its_caller(aws: Any, faults: Faults, name: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": "before"}})
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=20)
    credential = "AWS4-HMAC-SHA256 Credential=test/20130101/us-east-1/sqs/aws4_request"
    target = {"Authorization": credential, "X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"}
    connection.request("POST", "/", f'{{"QueueName": "{name}"}}', target)
    (held,) = wait_for(lambda: faults.held(fault), bool)
    assert held["peer_port"] == connection.sock.getsockname()[1]
    faults.ask("POST", f"/{fault}/release")
    assert connection.getresponse().status == 200


def test_an_upload_whose_client_was_killed_while_it_was_held_is_not_executed(aws: Any, faults: Faults) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="held-upload")
    fault = faults.add(service="s3", operation="PutObject", do={"hold": {"when": "before"}})
    upload = CALLER.replace("sqs.create_queue(QueueName=sys.argv[2])", "sqs.put_object(Bucket=sys.argv[2], Key='k', Body=b'x')")
    client = subprocess.Popen([sys.executable, "-c", upload.replace('"sqs"', '"s3"'), aws.endpoint, "held-upload"])
    wait_for(lambda: faults.held(fault), bool)  # the body lies unread in the connection
    client.kill()
    client.wait(20)
    faults.ask("DELETE", f"/{fault}")
    wait_for(lambda: [line for line in journal(aws.root) if line.get("resource") == "held-upload/k"], bool)
    assert s3.list_objects_v2(Bucket="held-upload")["KeyCount"] == 0


@pytest.mark.parametrize("path", ["", "/{}"], ids=["all", "one"])
def test_a_removed_fault_releases_what_it_holds(faults: Faults, sqs: Any, name: str, path: str) -> None:
    fault = faults.add(service="sqs", operation="CreateQueue", do={"hold": {"when": "before"}})
    calling = Calling(lambda: sqs.create_queue(QueueName=name))
    wait_for(lambda: faults.held(fault), bool)
    assert faults.ask("DELETE", path.format(fault)) == (200, {})
    assert calling.ended().answer["QueueUrl"].endswith(name)
    assert faults.ask("GET")[1] == {"faults": []}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delayed_call_takes_its_time(faults: Faults, sqs: Any, name: str, when: str) -> None:
    faults.add(service="sqs", operation="CreateQueue", do={"delay": {"seconds": 0.7, "when": when}})
    began = time.monotonic()
    calling = Calling(lambda: sqs.create_queue(QueueName=name))
    time.sleep(0.3)
    assert exists(sqs, name) == (when == "after")
    assert calling.ended().answer["QueueUrl"].endswith(name)
    assert time.monotonic() - began >= 0.7


def test_a_stopping_server_lets_go_of_what_it_holds_and_forgets_its_faults(
    start_local_aws: Any, tmp_path: Path, name: str
) -> None:
    running = start_local_aws(tmp_path)
    faults, sqs = Faults(running.endpoint), running.client("sqs", retries={"max_attempts": 0})
    fault = faults.add(service="sqs", operation="CreateQueue", times=None, do={"hold": {"when": "before"}})
    delay = faults.add(service="sqs", operation="List.*", do={"delay": {"seconds": 600}})
    calls = [Calling(lambda: sqs.create_queue(QueueName=name)), Calling(sqs.list_queues)]
    wait_for(lambda: len(faults.held(fault)) and len(faults.held(delay)), bool)  # one on its way would still be answered
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 5
    assert all(isinstance(call.ended().error, BotoCoreError) for call in calls)
    again = start_local_aws(tmp_path)
    assert Faults(again.endpoint).ask("GET") == (200, {"faults": []})
    assert not exists(again.client("sqs"), name)


BAD_RULES = {
    "no object": ([], "the rule: expected an object, found []"),
    "nothing": ({}, "do: expected an object with one of error, error_after, refuse, lose, delay, hold, found nothing"),
    "unknown field": ({"do": {"refuse": True}, "sevice": "sqs"}, "sevice: expected one of do, match, operation, "),
    "unknown service": (
        {"service": "sqss", "operation": ".*", "do": {"refuse": True}},
        "service: expected botocore's name of a service, as in the journal, found 'sqss'",
    ),
    "no operation": ({"service": "sqs", "do": {"refuse": True}}, "operation: expected a string, found nothing"),
    "bad pattern": (
        {"service": "sqs", "operation": ".*", "match": "(", "do": {"refuse": True}},
        "match: expected a regular expression, found '('",
    ),
    "two deeds": (
        {"service": "sqs", "operation": ".*", "do": {"refuse": True, "lose": True}},
        "do: expected an object with one of",
    ),
    "refuse false": ({"service": "sqs", "operation": ".*", "do": {"refuse": False}}, "do.refuse: expected true, found False"),
    "no code": ({"service": "sqs", "operation": ".*", "do": {"error": {}}}, "do.error.code: expected a string, found nothing"),
    "status": (
        {"service": "sqs", "operation": ".*", "do": {"error": {"code": "X", "status": 200}}},
        "do.error.status: expected an HTTP status from 400 to 599, found 200",
    ),
    "when": (
        {"service": "sqs", "operation": ".*", "do": {"hold": {"when": "soon"}}},
        "do.hold.when: expected before or after, found 'soon'",
    ),
    "no seconds": (
        {"service": "sqs", "operation": ".*", "do": {"delay": {}}},
        "do.delay.seconds: expected a number of seconds, found nothing",
    ),
    "times": (
        {"service": "sqs", "operation": ".*", "times": 0, "do": {"refuse": True}},
        "times: expected an integer from 1 on, found 0",
    ),
    "times and seconds": (
        {"service": "sqs", "operation": ".*", "times": 2, "seconds": 5, "do": {"refuse": True}},
        "times: expected null where seconds are given, found 2",
    ),
    "unknown job": (
        {"job": "emr", "do": {"kill": {}}},
        "job: expected one of glue, emr_serverless, redshift_data, training, processing, transform, found 'emr'",
    ),
    "deed of a call": ({"job": "glue", "do": {"refuse": True}}, "do: expected an object with one of kill, interrupt, found"),
    "interrupt": (
        {"job": "glue", "do": {"interrupt": {}}},
        "do.interrupt: expected job training (managed spot training), found 'glue'",
    ),
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_rule_that_cannot_be_used_is_refused_with_what_is_wrong(faults: Faults, case: str) -> None:
    rule, message = BAD_RULES[case]
    status, told = faults.ask("POST", body=rule)
    assert status == 400
    assert told["error"].startswith(message)
    assert faults.ask("GET")[1] == {"faults": []}


def test_a_rule_is_shown_as_it_was_understood(faults: Faults) -> None:
    fault = faults.add(service="sqs", operation="Create.*", do={"hold": {}})
    assert faults.see(fault) == {
        "id": fault, "service": "sqs", "operation": "Create.*", "match": None, "skip": 0, "times": 1, "seconds": None,
        "do": {"hold": {"when": "before"}}, "hits": 0, "held": [],
    }  # fmt: skip


def test_other_pages_and_other_peoples_calls_are_refused(aws: Any, faults: Faults) -> None:
    assert faults.ask("POST", body=b"{")[0] == 400
    assert faults.ask("PUT")[0] == 405
    assert faults.ask("DELETE", "/f0") == (
        404,
        {"error": "there is no fault f0; GET /flywheel/faults lists those that there are"},
    )
    rule = {"service": "sqs", "operation": ".*", "do": {"refuse": True}}
    assert faults.ask("POST", body=rule, headers={"Origin": "https://evil.example.com"})[0] == 403
    assert faults.ask("POST", body=rule, headers={"Host": "evil.example.com"})[0] == 403
    assert faults.ask("GET")[1] == {"faults": []}
    # A bucket may be called as the pages are: who signs a request means AWS.
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="flywheel")
    s3.put_object(Bucket="flywheel", Key="faults", Body=b"an object")
    assert s3.get_object(Bucket="flywheel", Key="faults")["Body"].read() == b"an object"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-m", "localaws", "faults", *arguments]
    return subprocess.run(told, env={"PYTHONPATH": str(INCLUDE)}, capture_output=True, text=True, timeout=60)


def test_the_command_line_sets_lists_and_clears_faults(aws: Any, faults: Faults, sqs: Any) -> None:
    port = aws.endpoint.rpartition(":")[2]
    assert command("list", "--port", port).stdout == "There are no faults.\n"
    rule = '{"service": "sqs", "operation": "List.*", "match": "x", "times": 3, "do": {"error": {"code": "Busy"}}}'
    added = command("add", rule, "--port", port)
    assert (added.returncode, added.stderr) == (0, "")
    fault = added.stdout.strip()
    with pytest.raises(ClientError, match="Busy"):
        sqs.list_queues(QueueNamePrefix="x")
    assert command("list", "--port", port).stdout == (
        f'{fault}  sqs:List.* matching \'x\'  {{"error": {{"code": "Busy", "message": "", "status": 400}}}}  struck 1 of 3\n'
    )
    assert command("clear", fault, "--port", port).returncode == 0
    assert faults.ask("GET")[1] == {"faults": []}


def test_the_command_line_says_what_is_wrong(aws: Any) -> None:
    refused = command("add", '{"job": "glue"}', "--port", aws.endpoint.rpartition(":")[2])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "do: expected an object with one of kill, interrupt, found nothing\n"
    nobody = command("list", "--port", "1")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("no local AWS answers at http://127.0.0.1:1 (")
