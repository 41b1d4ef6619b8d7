"""Training: every product of `include/products/` gets a DAG `train__<product>`."""

from typing import Any

from airflow.sdk import DAG, task

from include.orchestration import assets
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.orchestration.training import Training
from include.products import PRODUCTS
from include.spec.product import ModelProduct

DOC = """{product.description}

`pin` publishes a point-in-time-correct training set, `fit` trains a candidate ({product.train.kind}), `judge`
holds it against the gate and the champion on the untouched test period. Then `release` registers it, signs
its manifest and promotes it, or `stop` lets the champion stay, which is a result and no failure.

Starts when features or a retraining request arrive, or by hand with the moment to train as of.
"""


def train(product: ModelProduct) -> None:
    """The DAG of one product."""
    steps = Training(product)
    with DAG(
        steps.flow,
        schedule=assets.features(product.source) | assets.retrain_request(product.name),
        **dag_defaults(product.owner),
        tags=["training", product.name, f"tier-{product.tier}"],
        doc_md=DOC.format(product=product),
        params={AS_OF: AS_OF_PARAM, **dry_run_param("Pin, fit and judge; release nothing")},
    ):
        training_set: Any = task(steps.pin)()
        candidate: Any = task(steps.fit)(training_set)
        judged: Any = task.branch(steps.judge)(training_set, candidate)
        release: Any = task(outlets=[assets.champion(product.name)])(steps.release)
        stop: Any = task(steps.stop)
        judged >> [release(judged["judged"]), stop(judged["judged"])]


for product in PRODUCTS:
    train(product)
