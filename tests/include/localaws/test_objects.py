"""S3 over plain files: the API, the folder, and both at once."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

SIGNED = "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
ODD_KEYS = [
    "plain.txt",
    "with space/ü + & = ? # %41.txt",
    "a//double/slash",
    "/leading",
    "dots/../up",
    "./here",
    "ds=2013-01-01/part-00000.parquet",
    "x" * 300 + "/long-segment",
    "emoji/😀",
    "back\\slash",
    "quote\"'",
]


@pytest.fixture
def s3(aws):
    return aws.client("s3")


@pytest.fixture
def bucket(s3, request):
    name = "objects-" + request.node.name.lower().replace("_", "-").replace("[", "-").replace("]", "")[:40].strip("-")
    s3.create_bucket(Bucket=name)
    return name


def keys(s3, bucket, **parameters):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **parameters)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def code(caught) -> str:
    return caught.value.response["Error"]["Code"]


def test_an_object_is_the_file_of_its_key(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="landing/ds=2013-01-01/flights.parquet", Body=b"PAR1")
    assert (aws.root / "s3" / bucket / "landing/ds=2013-01-01/flights.parquet").read_bytes() == b"PAR1"


def test_a_file_that_another_program_wrote_is_an_object_at_once(aws, s3, bucket):
    folder = aws.root / "s3" / bucket / "processed/ds=2013-01-01"
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_bytes(b"abc")
    (folder / ".part-0.parquet.crc").write_bytes(b"x")
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "0").write_bytes(b"x")
    assert keys(s3, bucket) == ["processed/ds=2013-01-01/_SUCCESS", "processed/ds=2013-01-01/part-0.parquet"]
    found = s3.get_object(Bucket=bucket, Key="processed/ds=2013-01-01/part-0.parquet")
    assert found["Body"].read() == b"abc"
    assert found["ETag"] == '"900150983cd24fb0d6963f7d28e17f72"'


def test_what_another_program_changes_and_deletes_is_seen(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/one", Body=b"old")
    s3.put_object(Bucket=bucket, Key="a/two", Body=b"two")
    s3.put_object(Bucket=bucket, Key="b/c/three", Body=b"three")
    folder = aws.root / "s3" / bucket
    (folder / "a/one").write_bytes(b"newer")
    (folder / "a/two").unlink()
    (folder / "b/c/three").unlink()
    (folder / "b/c").rmdir()
    (folder / "b").rmdir()
    assert s3.head_object(Bucket=bucket, Key="a/one")["ContentLength"] == 5
    assert s3.get_object(Bucket=bucket, Key="a/one")["Body"].read() == b"newer"
    assert keys(s3, bucket) == ["a/one"]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="a/two")
    assert code(caught) == "NoSuchKey"


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys_are_kept_as_they_are(aws, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"m": "1"})
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert keys(s3, bucket) == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert keys(s3, bucket) == []
    outside = [path for path in aws.root.rglob("up") if "s3-aside" not in path.parts]
    assert not outside, "a key left its bucket's folder"


def test_a_key_and_a_key_below_it_live_side_by_side(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"2")
    s3.put_object(Bucket=bucket, Key="c/d/e", Body=b"3")
    s3.put_object(Bucket=bucket, Key="c", Body=b"4")
    s3.put_object(Bucket=bucket, Key="c/d", Body=b"5")
    assert keys(s3, bucket) == ["a", "a/b", "c", "c/d", "c/d/e"]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in ("a", "a/b", "c/d/e", "c", "c/d")]
    assert bodies == [b"1", b"2", b"3", b"4", b"5"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"again")
    s3.delete_object(Bucket=bucket, Key="a/b")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"again"


def test_folder_markers(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="folder/", Body=b"")
    assert (aws.root / "s3" / bucket / "folder").is_dir()
    s3.put_object(Bucket=bucket, Key="folder/file", Body=b"x")
    listed = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [prefix["Prefix"] for prefix in listed["CommonPrefixes"]] == ["folder/"]
    assert keys(s3, bucket) == ["folder/", "folder/file"]
    assert s3.head_object(Bucket=bucket, Key="folder/")["ContentLength"] == 0


def test_deleting_leaves_no_folders(aws, s3, bucket):
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"x/y/{number}", Body=b"1")
    objects = [{"Key": f"x/y/{number}"} for number in range(3)] + [{"Key": "never/was"}]
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert len(deleted["Deleted"]) == 4
    assert list((aws.root / "s3" / bucket).iterdir()) == []


def incoming(aws) -> set[str]:
    return {path.name for path in (aws.root / "s3-incoming").iterdir()}


def test_multipart_copy_and_range(aws, s3, bucket):
    before = incoming(aws)
    part = b"a" * (5 * 1024 * 1024)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={"who": "me"})["UploadId"]
    target = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    done = [
        {"PartNumber": number, "ETag": s3.upload_part(Body=body, PartNumber=number, **target)["ETag"]}
        for number, body in ((1, part), (2, b"tail"))
    ]
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == len(part) + 4 and head["Metadata"] == {"who": "me"} and head["ETag"].endswith('-2"')
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})
    ranged = s3.get_object(Bucket=bucket, Key="copy", Range=f"bytes={len(part) - 1}-{len(part) + 1}")
    assert ranged["Body"].read() == b"ata"
    assert ranged["ContentRange"] == f"bytes {len(part) - 1}-{len(part) + 1}/{len(part) + 4}"
    assert incoming(aws) == before


def test_an_aborted_upload_leaves_nothing(aws, s3, bucket):
    before = incoming(aws)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
    assert incoming(aws) == before and keys(s3, bucket) == []


def test_versions_are_kept(aws, s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"] and keys(s3, bucket) == []
    assert not (aws.root / "s3" / bucket / "k").exists()
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=second)["Body"].read() == b"2"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
    assert (aws.root / "s3" / bucket / "k").read_bytes() == b"1"
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == first


def test_suspending_versioning_is_refused(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with pytest.raises(ClientError, match="cannot suspend versioning") as caught:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert code(caught) == "NotImplemented"


def test_pages_prefixes_and_conditions(s3, bucket):
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"p/{number}", Body=b"")
    assert keys(s3, bucket, Prefix="p/", PaginationConfig={"PageSize": 2}) == [f"p/{n}" for n in range(5)]
    assert keys(s3, bucket, Prefix="p/3") == ["p/3"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="p/0", Body=b"", IfNoneMatch="*")
    assert code(caught) == "PreconditionFailed"


def test_a_bucket_with_objects_is_not_deleted_and_an_empty_one_is(aws, s3, bucket):
    (aws.root / "s3" / bucket / "written-by-spark").write_bytes(b"x")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=bucket)
    assert code(caught) == "BucketNotEmpty"
    s3.delete_object(Bucket=bucket, Key="written-by-spark")
    s3.delete_bucket(Bucket=bucket)
    assert not (aws.root / "s3" / bucket).exists()


@pytest.mark.parametrize("name", ["Has-Capitals", "with_underscore", "ab", "a..b"])
def test_names_that_are_no_bucket_names_are_refused(aws, name):
    # As plain HTTP: the client would refuse such names before they are sent.
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=20)
    connection.request("PUT", f"/{name}", headers={"Authorization": SIGNED})
    answer = connection.getresponse()
    assert answer.status == 400 and b"InvalidBucketName" in answer.read()
    connection.close()


def test_no_path_leads_out_of_the_buckets(aws):
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=20)
    connection.request("PUT", "/..%2Foutside", b"x", headers={"Authorization": SIGNED})
    assert connection.getresponse().status == 404
    connection.close()
    assert not (aws.root / "outside").exists()


def test_readers_never_see_half_an_object(s3, aws, bucket):
    """Readers and writers of one key at once: every body read is one that was written whole."""
    bodies = [bytes([65 + n]) * (50_000 + n) for n in range(8)]
    s3.put_object(Bucket=bucket, Key="hot", Body=bodies[0])
    wrong: list[int] = []

    def write() -> None:
        client = aws.client("s3")
        for body in bodies * 3:
            client.put_object(Bucket=bucket, Key="hot", Body=body)

    def read() -> None:
        client = aws.client("s3")
        for _ in range(25):
            body = client.get_object(Bucket=bucket, Key="hot")["Body"].read()
            if body not in bodies:
                wrong.append(len(body))

    threads = [threading.Thread(target=target) for target in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    from localaws import objects

    objects.install(tmp_path_factory.mktemp("objects"))
    objects._store().create_bucket("here", "us-east-1")
    return objects


class TestFunctions:
    """The functions that the executing services use, in this process."""

    def test_bytes_and_files(self, objects, tmp_path: Path):
        file = tmp_path / "f"
        file.write_bytes(b"from a file")
        objects.write_object("s3://here/x/bytes", b"bytes")
        objects.write_object("s3://here/x/file", file)
        assert objects.read_object("s3://here/x/file") == b"from a file"
        assert objects.object_path("s3://here/x/bytes") == objects.bucket_dir("here") / "x/bytes"
        assert objects.list_objects("s3://here/x/") == ["s3://here/x/bytes", "s3://here/x/file"]
        objects.delete_objects(["s3://here/x/bytes", "s3://here/x/file"])
        assert objects.list_objects("s3://here/x/") == []

    def test_prefixes_are_downloaded_as_sagemaker_does(self, objects, tmp_path: Path):
        for key in ("data/train/a.csv", "data/train/deep/b.csv", "data/train/empty/", "data/train.csv"):
            objects.write_object(f"s3://here/{key}", key.encode())

        def download(uri: str, name: str) -> list[str]:
            files = objects.download_prefix(uri, tmp_path / name)
            return sorted(file.relative_to(tmp_path / name).as_posix() for file in files)

        assert download("s3://here/data/train/", "slash") == ["a.csv", "deep/b.csv"]
        assert (tmp_path / "slash/empty").is_dir()
        assert download("s3://here/data/train", "bare") == ["a.csv", "deep/b.csv", "train.csv"]
        assert download("s3://here/data/train.csv", "one") == ["train.csv"]

    def test_a_tree_is_uploaded_and_changes_are_adopted(self, objects, tmp_path: Path):
        (tmp_path / "out/sub").mkdir(parents=True)
        (tmp_path / "out/sub/f").write_text("1")
        assert objects.upload_tree(tmp_path / "out", "s3://here/up/") == ["s3://here/up/sub/f"]
        (objects.bucket_dir("here") / "up/sub/f").write_text("changed in place")
        objects.adopt_changes("here")
        assert objects.read_object("s3://here/up/sub/f") == b"changed in place"

    def test_what_is_not_there_is_told_by_its_address(self, objects, tmp_path: Path):
        with pytest.raises(objects.NoSuchKey, match="s3://here/nothing: there is no such object"):
            objects.read_object("s3://here/nothing")
        with pytest.raises(objects.NoSuchKey, match="s3://nowhere: there is no such bucket"):
            objects.write_object("s3://nowhere/x", b"")
        with pytest.raises(objects.NoSuchKey, match="no object under this prefix"):
            objects.download_prefix("s3://here/none/", tmp_path)
        with pytest.raises(ValueError, match="not an S3 address: '/tmp/x'"):
            objects.read_object("/tmp/x")

    def test_a_download_stays_in_its_folder(self, objects, tmp_path: Path):
        objects.write_object("s3://here/evil/../../out", b"x")
        with pytest.raises(ValueError, match="outside"):
            objects.download_prefix("s3://here/evil/", tmp_path / "in")
