"""Monitoring: every product of `include/products/` gets a DAG `monitor__<product>`."""

from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, task

from include.orchestration import assets
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.orchestration.monitoring import Monitoring
from include.products import PRODUCTS
from include.spec.product import MONITORED, ModelProduct

DOC = """Compares what the champion of **{product.name}** sees and says with the reference stored in it, and
its predictions with the truths that have matured since; writes both to the lake.

A breach of the product's bounds requests a retraining, which starts `train__{product.name}`.
"""


def monitor(product: ModelProduct) -> None:
    """The DAG of one product."""
    steps = Monitoring(product)
    with DAG(
        steps.flow,
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(MONITORED, timezone="UTC"),
            assets=[assets.predictions(product.name)],
        ),
        **dag_defaults(product.owner),
        tags=["monitoring", product.name, f"tier-{product.tier}"],
        doc_md=DOC.format(product=product),
        params={AS_OF: AS_OF_PARAM, **dry_run_param("Measure; publish and request nothing")},
    ):
        watched: Any = task.branch(steps.watch)()
        request: Any = task(outlets=[assets.retrain_request(product.name)])(steps.request_retraining)
        watched >> request(watched["monitored"])


for product in PRODUCTS:
    monitor(product)
