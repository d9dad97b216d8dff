"""The arguments and the job frame of the awsglue package; its frames are tested by a Glue job that uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).resolve().parents[4] / "include" / "localaws" / "spark" / "shim"
ARGV = ["job.py", "--day", "2013-01-01", "--note", "--dashes first", "--JOB_RUN_ID", "jr_1", "--job-bookmark-option", "x"]


@pytest.fixture
def utils(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SHIM))
    import awsglue.utils

    return awsglue.utils


def test_options_are_resolved_and_the_rest_is_passed_over(utils: Any) -> None:
    found = utils.getResolvedOptions(ARGV, ["day", "note"])
    assert (found["day"], found["note"], found["JOB_RUN_ID"]) == ("2013-01-01", "--dashes first", "jr_1")
    assert found["job_bookmark_option"] == "x" and found["TempDir"] is None


def test_a_missing_option_is_named(utils: Any) -> None:
    with pytest.raises(utils.GlueArgumentError, match="--month"):
        utils.getResolvedOptions(ARGV, ["month"])


def test_reserved_options_cannot_be_asked_for(utils: Any) -> None:
    with pytest.raises(utils.GlueArgumentError, match="job-bookmark-option"):
        utils.getResolvedOptions(ARGV, ["job-bookmark-option"])


def test_job_frame_refuses_bookmarks_and_a_commit_without_init(utils: Any) -> None:
    from awsglue.job import Job

    job = Job(None)
    with pytest.raises(RuntimeError, match="init"):
        job.commit()
    with pytest.raises(NotImplementedError, match="job-bookmark-enable"):
        job.init("nightly", {"job_bookmark_option": "job-bookmark-enable"})
    job.init("nightly", {})
    job.commit()
    assert job.isInitialized() and job.job_name == "nightly"
