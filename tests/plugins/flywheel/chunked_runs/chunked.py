"""A DAG of the shape of Flywheel's chunked ones, with nothing in it but what Airflow itself has to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, BaseOperator, Param, TriggerRule, chain, dag, task_group

from flywheel.macros import CHUNK, template_names
from flywheel.timetables import SourceCalendarTimetable


class Plan(BaseOperator):
    """Returns the chunks that the run is given."""

    def execute(self, context: Any) -> Any:
        return context["params"]["chunks"]


class Say(BaseOperator):
    """Returns its text; fails when the run is told that this text is to."""

    template_fields = ("text",)

    def __init__(self, *, text: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Any) -> str:
        if self.text == context["params"]["fails"]:
            raise ValueError(self.text)
        return self.text


@dag(
    schedule=SourceCalendarTimetable("0 6 * * *", until="2013-12-31", chunk_days=31),
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    params={"chunks": Param([], type="array"), "fails": Param("", type="string")},
    user_defined_macros=template_names(),
)
def chunked() -> None:
    def version() -> None:
        """As each version of a feature group: in a task group of its own."""
        plan_chunks = Plan(task_id="plan_chunks")

        @task_group(prefix_group_id=False)
        def chunk(days: dict[str, str]) -> None:
            first = Say(task_id="v1.build", text="{{ chunk().start }}", map_index_template=CHUNK)
            chain(first, Say(task_id="v1.load", text="{{ chunk().end }}", map_index_template=CHUNK))

        publish = Say(
            task_id="publish",
            text="{{ chunks() | tojson }}",
            outlets=[Asset(name="chunked", uri="test://chunked")],
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        chain(plan_chunks, chunk.expand(days=plan_chunks.output), publish)

    task_group(group_id="v1")(version)()


chunked()
