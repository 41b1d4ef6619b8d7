"""Change data capture: every source with a capture gets a DAG `ingest_cdc__<source>`."""

from typing import Any

from airflow.sdk import DAG, task

from include.orchestration import assets
from include.orchestration.cdc import ChangeCapture, continuous_param
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.orchestration.new_changes import FollowChanges
from include.sources import SOURCES
from include.spec.source import Source

DOC = """Brings every change of the captured tables of **{source.name}** to main, in order, once: `begin`,
then `open_draft`, `capture`, `gate`, and `publish` or `refuse` for one window of the log, or `follow` where
the form or the schedule says *continuous*. The first run loads the tables as the replication slot begins.

Data and position are one commit, and the slot moves only after the merge: a run may die anywhere. A run that
finds nothing new ends at `begin`. Runbook: docs/runbooks/cdc.md. Owner: {source.owner}.
"""


def ingest_cdc(source: Source) -> None:
    """The DAG of one source."""
    assert source.capture is not None
    steps = ChangeCapture(source)
    with DAG(
        steps.flow,
        schedule=source.capture.schedule,
        **dag_defaults(source.owner),
        tags=["cdc", "ingestion", source.name],
        doc_md=DOC.format(source=source),
        params={
            AS_OF: AS_OF_PARAM,
            **continuous_param(source),
            **dry_run_param("Capture one window and judge it; publish nothing, and leave the slot as it is"),
        },
    ):
        begin: Any = task.branch(steps.begin)()
        draft: Any = task(steps.open_draft)()
        captured: Any = task(steps.capture)(draft)
        judged: Any = task.branch(steps.gate)(draft, captured)
        publish: Any = task(outlets=[assets.changes(source)])(steps.publish)
        refuse: Any = task(steps.refuse)
        follow = FollowChanges(task_id="follow", source=source, outlets=[assets.changes(source)])
        begin >> [draft, follow]
        judged >> [publish(draft, captured, judged["judged"]), refuse(draft, judged["judged"])]


for source in SOURCES:
    if source.capture is not None:
        ingest_cdc(source)
