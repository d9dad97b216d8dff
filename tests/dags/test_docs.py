"""docs/DAGs.md is what the DAGs say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date(dagbag: DagBag) -> None:
    spec = importlib.util.spec_from_file_location("make_dags_page", DOCS / "make_dags_page.py")
    assert spec and spec.loader
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert (DOCS / "DAGs.md").read_text() == page.render(dagbag.dags.values()), "run `make docs` and commit docs/DAGs.md"
