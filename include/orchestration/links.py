"""Links from tasks in Airflow's UI to the pages about what they made.

A link is told by the names of run and task alone, so it is there for every try, failed ones included; what a
run has not made yet, its page says.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

PREFIX = "/headrace"

_PUBLISHING = ("ingest_batch", "ingest_cdc", "build_features", "score")


def run_page(dag_id: str, run_id: str, page: str = "") -> str:
    """The address of a page about a run, from the root of the server."""
    steps = [PREFIX, "runs", quote(dag_id, safe=""), quote(run_id, safe=""), *filter(None, [page])]
    return "/".join(steps)


class RunLink(BaseOperatorLink):
    """A link to a page about the run, for some tasks of some flows.

    Args:
        name: Its words.
        page: Of the run's pages.
        tasks: Names of the tasks by flow, the part of a DAG's id before `__`.
    """

    name: str = ""

    def __init__(self, name: str, page: str, tasks: Mapping[str, tuple[str, ...]]) -> None:
        self.name = name
        self.page = page
        self.tasks = tasks

    @property
    def xcom_key(self) -> str:
        """Unused: the web server makes the link, and no task has to hand it on."""
        return f"_link_headrace_{self.page}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty, which shows no link, for other tasks."""
        del operator
        if ti_key.task_id not in self.tasks.get(ti_key.dag_id.split("__")[0], ()):
            return ""
        return self.address(ti_key.dag_id, ti_key.run_id)

    def address(self, dag_id: str, run_id: str) -> str:
        """Where the link of a run leads to."""
        return run_page(dag_id, run_id, self.page)


class DocsLink(RunLink):
    """A link to the documentation of the feature models, which is one for all runs."""

    def address(self, dag_id: str, run_id: str) -> str:
        """Where the link leads to."""
        del dag_id, run_id
        return f"{PREFIX}/dbt"


LINKS = (
    DocsLink("dbt docs", "dbt", {"build_features": ("build",)}),
    RunLink("models and tests", "models", {"build_features": ("build",)}),
    RunLink(
        "gate results",
        "gate",
        {**dict.fromkeys(_PUBLISHING, ("gate", "publish", "refuse")), "train": ("judge", "release", "stop")},
    ),
    RunLink(
        "lake commit",
        "commit",
        {**dict.fromkeys(_PUBLISHING, ("publish", "refuse")), "train": ("pin",), "monitor": ("watch",)},
    ),
    RunLink("MLflow run", "registry", {"train": ("fit", "judge", "release", "stop")}),
)
