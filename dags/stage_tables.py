"""Staged tables: every source with a capture gets a DAG `stage_tables__<source>`."""

from typing import Any

from airflow.sdk import DAG, task

from include.orchestration import assets
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.orchestration.staging import TableStaging
from include.sources import SOURCES
from include.spec.source import Source

DOC = """Builds the current state and the history of each captured table of **{source.name}** from its change
log, by Spark: `staged/{source.name}/<table>` and `<table>__history`. Only buckets of keys that new changes
touch are written; late and repeated files of a log change nothing that they do not tell of.

All tables are judged on the run's branch and published in one commit. A run that is refused leaves main as it
was; its branch is kept with the verdict (`headrace lake refused`). Owner: {source.owner}.
"""


def stage_tables(source: Source) -> None:
    """The DAG of one source."""
    steps = TableStaging(source)
    with DAG(
        steps.flow,
        schedule=[assets.changes(source)],
        **dag_defaults(source.owner),
        tags=["staged", "spark", source.name],
        doc_md=DOC.format(source=source),
        params={
            AS_OF: AS_OF_PARAM,
            **dry_run_param("Build and judge; publish nothing"),
        },
    ):
        draft: Any = task(steps.build)()
        judged: Any = task.branch(steps.gate)(draft, draft["staged"])
        publish: Any = task(outlets=[assets.staged(source)])(steps.publish)
        refuse: Any = task(steps.refuse)
        judged >> [
            publish(draft, draft["staged"], judged["judged"]),
            refuse(draft, judged["judged"]),
        ]


for source in SOURCES:
    if source.capture is not None:
        stage_tables(source)
