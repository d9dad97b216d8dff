"""What the services tell of their jobs: accepted, running, ended. It is written to the journal, and faults strike by it.

The services call these functions wherever a job changes; without a server, as in a test of a part, they do nothing.
"""

from __future__ import annotations

from localaws.faults import Action, Faults
from localaws.journal import Journal

FORGOTTEN = "The local AWS was killed before it had saved this job, and knows nothing of it any more."

_journal: Journal | None = None
_faults: Faults | None = None


def use(journal: Journal, faults: Faults) -> None:
    """Write to this journal, and let these faults strike."""
    global _journal, _faults
    _journal, _faults = journal, faults


def end_forgotten() -> None:
    """After a start, when the services have told what became of their jobs: end those that none of them knows.

    A server that is killed loses what it accepted in its last half second; the processes of such jobs are ended by now.
    """
    if _journal is not None:
        for kind, name, job_id in _journal.open_jobs():
            _journal.write_job(kind, name, job_id, "ended", None, FORGOTTEN)


def accepted(kind: str, name: str, job_id: str, status: str) -> None:
    """Note that the service has accepted a job.

    :param kind: ``glue``, ``emr_serverless``, ``redshift_data``, ``training``, ``processing``, ``transform``...
    :param name: what a client recognises the job by; ``job_id`` is unique among all jobs.
    :param status: its first state, as AWS names it.
    """
    if _journal is not None:
        _journal.write_job(kind, name, job_id, "started", status, None)


def running(kind: str, name: str, job_id: str, **actions: Action) -> None:
    """Note that a job's process runs from now on.

    :param actions: what faults may do to it: ``kill``, ``interrupt``.
    """
    if _faults is not None:
        _faults.job_runs(kind, name, job_id, actions)


def ended(kind: str, name: str, job_id: str, status: str, reason: str | None) -> None:
    """Note that a job has reached a terminal state.

    :param reason: why, as AWS tells it; None where there is nothing to tell.
    """
    fault = _faults.job_ended(job_id) if _faults is not None else None
    if _journal is not None:
        _journal.write_job(kind, name, job_id, "ended", status, reason, fault)
