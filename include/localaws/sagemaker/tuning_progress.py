"""What a tuning job's training jobs have come to: their summaries, counters, the best one, and whether that is enough."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from localaws.sagemaker import state
from localaws.sagemaker.state import FINAL, Job

ATTEMPTS = 5
"""A tuning job fails when so many of its training jobs have ended and none has succeeded."""

IMPROVEMENT = 0.01
"""The share by which an objective must be better than the best one to count as improving."""

SEE_JOBS = (
    "For additional details, please take a look at the training job failures by listing training jobs for the "
    "hyperparameter tuning job."
)


class Progress:
    """A tuning job and the training jobs that it has launched, as they are now.

    :param launched: those of them that have not been deleted
    """

    def __init__(self, tuning: Job, launched: Iterable[Job]):
        config = tuning.request["HyperParameterTuningJobConfig"]
        self.launched = list(launched)
        self.tuning, self.config = tuning, config
        self.metric: str = config["HyperParameterTuningJobObjective"]["MetricName"]
        self.maximize: bool = config["HyperParameterTuningJobObjective"]["Type"] == "Maximize"
        self._tuned = [each["Name"] for ranges in config["ParameterRanges"].values() for each in ranges]

    def objective(self, job: Job) -> float | None:
        """The final objective of a training job that has completed, or was stopped; None where there is none."""
        if job.status in ("Completed", "Stopped"):
            for metric in job.results.get("FinalMetricDataList") or ():
                if metric["MetricName"] == self.metric:
                    return float(metric["Value"])
        return None

    def objective_status(self, job: Job) -> str:
        """Succeeded, Pending or Failed."""
        if job.status not in FINAL:
            return "Pending"
        return "Failed" if self.objective(job) is None else "Succeeded"

    def summary(self, job: Job) -> dict[str, Any]:
        """The API's HyperParameterTrainingJobSummary of a training job."""
        value = self.objective(job)
        metric = None if value is None else {"MetricName": self.metric, "Value": value}
        parameters = job.request["HyperParameters"]
        return {
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.created,
            "TrainingJobStatus": job.status,
            "TunedHyperParameters": {name: parameters[name] for name in self._tuned},
            "ObjectiveStatus": self.objective_status(job),
            **state.described(
                TrainingJobDefinitionName=self.tuning.request["TrainingJobDefinition"].get("DefinitionName"),
                TrainingStartTime=job.started,
                TrainingEndTime=job.ended,
                FailureReason=job.failure_reason,
                FinalHyperParameterTuningJobObjectiveMetric=metric,
            ),
        }

    def described(self) -> dict[str, Any]:
        """The fields of the tuning job's Describe answer that its training jobs decide."""
        best = self.best
        details = {"NumberOfTrainingJobsObjectiveNotImproving": self.not_improving}
        return {
            **self.counters(),
            **state.described(BestTrainingJob=None if best is None else self.summary(best)),
            "TuningJobCompletionDetails": details,
            "ConsumedResources": {"RuntimeInSeconds": math.ceil(self.runtime(state.now()))},
        }

    def counters(self) -> dict[str, dict[str, int]]:
        """How many training jobs are in which state, and have which objective status."""
        found = Counter(_counted(job) for job in self.launched)
        objectives = Counter(self.objective_status(job) for job in self.launched)
        names = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
        return {
            "TrainingJobStatusCounters": {name: found[name] for name in names},
            "ObjectiveStatusCounters": {name: objectives[name] for name in ("Succeeded", "Pending", "Failed")},
        }

    def runtime(self, moment: datetime) -> float:
        """The seconds from the tuning job's creation to its end, or to this moment."""
        return ((self.tuning.ended or moment) - self.tuning.created).total_seconds()

    @property
    def best(self) -> Job | None:
        """The training job that has completed with the best objective; of equals the first one."""
        found = [job for job in self.launched if job.status == "Completed" and self.objective(job) is not None]
        return min(found, key=lambda job: self._cost(job) or 0.0, default=None)

    @property
    def not_improving(self) -> int:
        """How many training jobs have ended since the objective was last improved by 1 percent or more."""
        best, count = None, 0
        for job in sorted(self._ended(), key=lambda job: job.ended or job.modified):
            cost = self._cost(job)
            if cost is None:
                continue
            if best is None or best - cost >= IMPROVEMENT * abs(best):
                count = 0
            else:
                count += 1
            best = cost if best is None else min(best, cost)
        return count

    def enough(self, moment: datetime) -> bool:
        """Whether one of the tuning job's completion criteria is met."""
        criteria = self.config.get("TuningJobCompletionCriteria") or {}
        patience = (criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving")
        limit = self.config["ResourceLimits"].get("MaxRuntimeInSeconds")
        return (
            (limit is not None and self.runtime(moment) >= limit)
            or (patience is not None and self.not_improving >= patience)
            or self._target_reached(criteria.get("TargetObjectiveMetricValue"))
        )

    def failure(self, *, over: bool) -> str | None:
        """Why the tuning job has failed; None: it has not.

        :param over: whether no training job runs any more and none will be launched
        """
        ended = self._ended()
        if any(self.objective(job) is not None for job in self.launched) or not (over or len(ended) >= ATTEMPTS):
            return None
        if any(job.status == "Completed" for job in ended):
            return (
                f"No objective metrics found after running {len(ended)} training jobs. Please ensure that the custom "
                "algorithm is emitting the objective metric as defined by the regular expression provided."
            )
        if len(ended) >= ATTEMPTS:
            return f"No training job succeeded after {ATTEMPTS} attempts. {SEE_JOBS}"
        return f"All training jobs failed. {SEE_JOBS}"

    def _target_reached(self, target: float | None) -> bool:
        if target is None or self.best is None:
            return False
        value = self.objective(self.best)
        return value is not None and (value >= target if self.maximize else value <= target)

    def _ended(self) -> Sequence[Job]:
        return [job for job in self.launched if job.status in FINAL]

    def _cost(self, job: Job) -> float | None:
        """The objective, turned so that less is better."""
        value = self.objective(job)
        return -value if value is not None and self.maximize else value


def _counted(job: Job) -> str:
    """The counter of a training job; only what AWS itself has failed at can be tried again."""
    if job.status == "Failed":
        retryable = (job.failure_reason or "").startswith("InternalServerError")
        return "RetryableError" if retryable else "NonRetryableError"
    return job.status if job.status in FINAL else "InProgress"
