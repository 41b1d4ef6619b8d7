"""Batch scoring: every product of `include/products/` gets a DAG `score__<product>`."""

from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, task

from include.orchestration import assets
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.orchestration.scoring import Scoring
from include.products import PRODUCTS
from include.spec.product import ModelProduct

DOC = """The champion of **{product.name}** scores all that is open as of the run's moment, at the newest
features; the predictions are judged and published with the model's version and the features' commit.

A champion is loaded only if its signed manifest names its bytes. Backfill it over past dates to score as of
each; scoring a moment again replaces its batch.
"""


def score(product: ModelProduct) -> None:
    """The DAG of one product."""
    assert product.serve.cron is not None
    steps = Scoring(product)
    with DAG(
        steps.flow,
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(product.serve.cron, timezone="UTC"),
            assets=[assets.champion(product.name)],
        ),
        **dag_defaults(product.owner),
        tags=["serving", product.name, f"tier-{product.tier}"],
        doc_md=DOC.format(product=product),
        params={
            AS_OF: AS_OF_PARAM,
            **dry_run_param("Score and judge; publish nothing"),
        },
    ):
        draft: Any = task(steps.score)()
        judged: Any = task.branch(steps.gate)(draft)
        publish: Any = task(outlets=[assets.predictions(product.name)])(steps.publish)
        refuse: Any = task(steps.refuse)
        judged >> [
            publish(draft, draft["scored"], judged["judged"]),
            refuse(draft, judged["judged"]),
        ]


for product in PRODUCTS:
    if product.serve.cron is not None:
        score(product)
