"""Batch ingestion: every source of `include/sources/` gets a DAG `ingest_batch__<source>`."""

from typing import Any

from airflow.sdk import DAG, task

from include.orchestration import assets
from include.orchestration.asked import asked_params
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.ingest import BatchIngestion
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.sources import SOURCES
from include.spec.source import Source

DOC = """Reads all tables of **{source.name}** ({source.description}) and publishes them on main in one
commit: `open_draft`, `land` (a task per database or folder of files), `gate`, then `publish` or `refuse`.

A run that is refused leaves main as it was; its branch is kept with the verdict (`headrace lake refused`).
When nothing changed in the source, `publish` is skipped and main stays where it is. Owner: {source.owner}.
"""


def ingest_batch(source: Source) -> None:
    """The DAG of one source."""
    steps = BatchIngestion(source)
    with DAG(
        steps.flow,
        schedule=source.schedule,
        **dag_defaults(source.owner),
        tags=["batch", "ingestion", source.name],
        doc_md=DOC.format(source=source),
        params={
            AS_OF: AS_OF_PARAM,
            **dry_run_param("Land and judge; publish nothing"),
            **asked_params(source),
        },
    ):
        draft: Any = task(steps.open_draft)()
        land = task(max_active_tis_per_dag=2, map_index_template="{{ origin }}")(steps.land)
        landings: Any = land.partial(draft=draft).expand(origin=list(source.origins))
        judged: Any = task.branch(steps.gate)(draft, landings)
        publish: Any = task(outlets=[assets.raw(source)])(steps.publish)
        refuse: Any = task(steps.refuse)
        judged >> [publish(draft, landings, judged["judged"]), refuse(draft, judged["judged"])]


for source in SOURCES:
    ingest_batch(source)
