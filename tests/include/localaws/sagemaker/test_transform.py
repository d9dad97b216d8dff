"""Batch Transform end to end: a model of four functions, CSV and JSON, filters, joins, failures."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

# Adds up the numbers of a row; says how often it was loaded and how many rows each request had.
INFERENCE = """
import json, os, pathlib

LOADED = []
def model_fn(model_dir):
    LOADED.append(1)
    print("model loaded")
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())
def input_fn(body, content_type):
    assert isinstance(body, str), type(body)
    if content_type == "application/jsonlines":
        return [json.loads(line)["values"] for line in body.splitlines()]
    return [[float(x or 0) for x in line.split(",")] for line in body.splitlines()]
def predict_fn(rows, model):
    if any(x == 666 for row in rows for x in row):
        raise ValueError("no such carrier")
    return [sum(row) + model["bias"] for row in rows]
def output_fn(scores, accept):
    if os.environ.get("SHORT"):
        scores = scores[1:]
    if os.environ.get("SIZES"):
        return f"{len(LOADED)} {len(scores)}\\n"
    if accept == "application/jsonlines":
        return "".join(json.dumps({"score": s}) + "\\n" for s in scores)
    return "".join(f"{s}\\n" for s in scores)
"""


@pytest.fixture(scope="module")
def model(sm: Any) -> str:
    """A model that adds up."""
    data = sm.put(
        "models/adder/model.tar.gz", sm.tar_gz({"model.json": '{"bias": 0.5}', "code/inference.py": INFERENCE})
    )
    return create_model(sm, "adder", data)


def create_model(sm: Any, name: str, data: str) -> str:
    container = {"Image": sm.SKLEARN, "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    sm.client.create_model(ModelName=name, ExecutionRoleArn=sm.ROLE, PrimaryContainer=container)
    return name


def start(sm: Any, model: str, prefix: str, **request: Any) -> tuple[str, str]:
    """Starts a transform job and returns its name and its output prefix."""
    name = request.pop("TransformJobName", None) or sm.name("transform")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{sm.BUCKET}/{prefix}"}}
    config = {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"} | request.pop("TransformInput", {})
    output = {"S3OutputPath": f"s3://{sm.BUCKET}/predictions/{name}", "Accept": "text/csv", "AssembleWith": "Line"}
    sm.client.create_transform_job(
        TransformJobName=name,
        ModelName=model,
        TransformInput=config,
        TransformOutput=output | request.pop("TransformOutput", {}),
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **request,
    )
    return name, f"predictions/{name}"


def run(sm: Any, model: str, prefix: str, **request: Any) -> tuple[dict[str, Any], str]:
    name, output = start(sm, model, prefix, **request)
    return sm.wait("transform", name), output


def text(sm: Any, key: str) -> str:
    return sm.get(f"s3://{sm.BUCKET}/{key}").decode()


def test_filters_and_join_keep_the_key_beside_the_score(sm: Any, model: str) -> None:
    sm.put("in/join/day=1/part-0.csv", '"a,1",1,2\nb,3,\n')
    sm.put("in/join/day=2/part-0.csv", "c,5,6\n")
    job, output = run(
        sm,
        model,
        "in/join/",
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert job["DataProcessing"]["OutputFilter"] == "$[0,-1]"
    assert job["TransformStartTime"] <= job["TransformEndTime"]
    assert sm.keys(output) == [f"{output}/day=1/part-0.csv.out", f"{output}/day=2/part-0.csv.out"]
    assert text(sm, f"{output}/day=1/part-0.csv.out") == '"a,1",3.5\nb,3.5\n'
    assert text(sm, f"{output}/day=2/part-0.csv.out") == "c,11.5\n"
    assert "model loaded" in sm.messages("/aws/sagemaker/TransformJobs", job["TransformJobName"])


def test_without_filters_the_answers_are_the_output(sm: Any, model: str) -> None:
    sm.put("in/plain.csv", "1,2\n3,4")
    job, output = run(sm, model, "in/plain.csv")
    assert job["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert text(sm, f"{output}/plain.csv.out") == "3.5\n7.5\n"


def test_batches_are_as_the_strategy_says_and_the_model_is_loaded_once(sm: Any, model: str) -> None:
    sm.put("in/sizes/three.csv", "1\n2\n3\n")
    sm.put("in/sizes/large.csv", "\n".join(["1" * 1000] * 2000))  # 2 MB
    _, output = run(sm, model, "in/sizes/three.csv", Environment={"SIZES": "1"}, BatchStrategy="SingleRecord")
    assert text(sm, f"{output}/three.csv.out") == "1 1\n1 1\n1 1\n"
    _, output = run(sm, model, "in/sizes/", Environment={"SIZES": "1"}, MaxPayloadInMB=1, MaxConcurrentTransforms=3)
    assert text(sm, f"{output}/three.csv.out") == "1 3\n"
    assert text(sm, f"{output}/large.csv.out").splitlines() == ["1 1047", "1 953"]


def test_json_lines_are_joined_under_their_own_name(sm: Any, model: str) -> None:
    sm.put("in/rows.jsonl", '{"id": "a", "values": [1, 2]}\n{"id": "b", "values": [3]}\n')
    kind = "application/jsonlines"
    job, output = run(
        sm,
        model,
        "in/rows.jsonl",
        TransformInput={"ContentType": kind},
        TransformOutput={"Accept": kind},
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"},
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert [json.loads(line) for line in text(sm, f"{output}/rows.jsonl.out").splitlines()] == [
        {"id": "a", "SageMakerOutput": {"score": 3.5}},
        {"id": "b", "SageMakerOutput": {"score": 3.5}},
    ]


def test_whole_files_and_compressed_ones(sm: Any, model: str) -> None:
    sm.put("in/whole.csv.gz", gzip.compress(b"1\n2\n"))
    plain = {"SplitType": "None", "CompressionType": "Gzip"}
    _, output = run(sm, model, "in/whole.csv.gz", TransformInput=plain, TransformOutput={"AssembleWith": "None"})
    assert text(sm, f"{output}/whole.csv.gz.out") == "1.5\n2.5\n"


def test_a_failing_prediction_fails_the_job_with_what_the_container_said(sm: Any, model: str) -> None:
    sm.put("in/bad/a.csv", "1\n")
    sm.put("in/bad/b.csv", "666\n")
    job, output = run(sm, model, "in/bad/")
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        f"AlgorithmError: See job logs for more information ({sm.BUCKET}/in/bad/b.csv: "
        "Bad HTTP status received from algorithm: 500: ValueError: no such carrier)"
    )
    assert sm.keys(output) == [f"{output}/a.csv.out"]
    logged = sm.messages("/aws/sagemaker/TransformJobs", job["TransformJobName"])
    assert "ValueError: no such carrier" in logged  # the traceback, in the container's own stream
    assert any(line.endswith("Bad HTTP status received from algorithm: 500") for line in logged)


def test_a_container_that_dies_gives_no_answer(sm: Any) -> None:
    dying = "import os\ndef model_fn(d):\n    return 1\ndef transform_fn(m, body, t, a):\n    os._exit(9)"
    data = sm.put("models/dying/model.tar.gz", sm.tar_gz({"code/inference.py": dying}))
    create_model(sm, "dying", data)
    sm.put("in/one.csv", "1\n")
    job, _ = run(sm, "dying", "in/one.csv")
    assert "Unable to get response from algorithm" in job["FailureReason"]


def test_a_join_with_too_few_answers_fails(sm: Any, model: str) -> None:
    sm.put("in/short.csv", "a,1\nb,2\n")
    config = {"InputFilter": "$[1:]", "JoinSource": "Input"}
    job, output = run(sm, model, "in/short.csv", DataProcessing=config, Environment={"SHORT": "1"})
    assert "2 input records, 1 output records" in job["FailureReason"]
    assert sm.keys(output) == []


def test_a_filter_beyond_the_row_fails(sm: Any, model: str) -> None:
    sm.put("in/narrow.csv", "1,2\n")
    job, _ = run(sm, model, "in/narrow.csv", DataProcessing={"InputFilter": "$[5]"})
    assert "index 5 is out of range, the rows have 2 columns" in job["FailureReason"]


def test_a_model_that_cannot_be_loaded_fails_the_job(sm: Any) -> None:
    data = sm.put(
        "models/broken/model.tar.gz", sm.tar_gz({"code/inference.py": "def model_fn(d):\n    raise OSError('gone')"})
    )
    create_model(sm, "broken", data)
    sm.put("in/one.csv", "1\n")
    job, _ = run(sm, "broken", "in/one.csv")
    assert job["FailureReason"].startswith("AlgorithmError: Model container failed to respond to ping")
    assert "OSError: gone" in job["FailureReason"]


def test_an_artefact_that_is_gone_when_the_job_runs_is_named(sm: Any) -> None:
    data = sm.put("models/gone/model.tar.gz", sm.tar_gz({"code/inference.py": INFERENCE}))
    create_model(sm, "gone", data)
    sm.s3.delete_object(Bucket=sm.BUCKET, Key="models/gone/model.tar.gz")
    sm.put("in/one.csv", "1\n")
    job, _ = run(sm, "gone", "in/one.csv")
    assert f'from URL: "{data}"' in job["FailureReason"]


def test_a_running_job_can_be_stopped(sm: Any) -> None:
    slow = "import time\ndef model_fn(d):\n    return 1\ndef transform_fn(m, body, t, a):\n    time.sleep(60)"
    data = sm.put("models/slow/model.tar.gz", sm.tar_gz({"code/inference.py": slow}))
    create_model(sm, "slow", data)
    sm.put("in/one.csv", "1\n")
    name, _ = start(sm, "slow", "in/one.csv")
    sm.client.stop_transform_job(TransformJobName=name)
    assert sm.client.describe_transform_job(TransformJobName=name)["TransformJobStatus"] in ("Stopping", "Stopped")
    assert sm.wait("transform", name)["TransformJobStatus"] == "Stopped"


def test_requests_are_checked_as_on_aws(sm: Any, model: str) -> None:
    sm.put("in/one.csv", "1\n")
    for said, prefix, request in (
        ("Could not find model", "in/one.csv", {"model": "none"}),
        ("No S3 objects found under S3 URL", "in/nothing/", {}),
        (r"MaxConcurrentTransforms \* MaxPayloadInMB", "in/one.csv", {"MaxConcurrentTransforms": 20}),
        ("does not fit CSV", "in/one.csv", {"DataProcessing": {"InputFilter": "$.name"}}),
        ("must be of the same format", "in/one.csv", {"DataProcessing": {"JoinSource": "Input"}, "json": True}),
    ):
        chosen, more = request.pop("model", model), {}
        if request.pop("json", False):
            more = {"TransformOutput": {"Accept": "application/json"}}
        with pytest.raises(ClientError, match=said) as refused:
            start(sm, chosen, prefix, **request, **more)
        assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_jobs_are_listed_newest_first(sm: Any, model: str) -> None:
    sm.put("in/one.csv", "1\n")
    names = [start(sm, model, "in/one.csv", TransformJobName=sm.name("newest"))[0] for _ in range(2)]
    for name in names:
        sm.wait("transform", name)
    listed = sm.client.list_transform_jobs(NameContains="newest")["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in listed] == names[::-1]
    with pytest.raises(ClientError, match="a job with this name already exists"):
        start(sm, model, "in/one.csv", TransformJobName=names[0])
