"""Feature builds: every source that a product is made of gets a DAG `build_features__<source>`."""

from typing import Any

from airflow.sdk import DAG, task

from include.orchestration import assets
from include.orchestration.defaults import dag_defaults
from include.orchestration.dry_run import dry_run_param
from include.orchestration.features import FeatureBuilding
from include.orchestration.moment import AS_OF, AS_OF_PARAM
from include.products import PRODUCTS
from include.sources import SOURCES
from include.spec.source import Source

DOC = """Builds the feature tables that follow from **{source.name}** by one dbt invocation over a checkout of
the newest commit, judges them on the run's branch, and publishes all of them in one commit.

The links of `build`: *models and tests* shows each with its status, time and rows, *dbt docs* opens the
documentation.
A run that is refused leaves main as it was; its branch is kept with the verdict (`headrace lake refused`).
"""


def build_features(source: Source) -> None:
    """The DAG of one source."""
    steps = FeatureBuilding(source)
    with DAG(
        steps.flow,
        schedule=[assets.raw(source)],
        **dag_defaults(source.owner),
        tags=["features", source.name],
        doc_md=DOC.format(source=source),
        params={
            AS_OF: AS_OF_PARAM,
            **dry_run_param("Build and judge; publish nothing"),
        },
    ):
        draft: Any = task(steps.build)()
        judged: Any = task.branch(steps.gate)(draft, draft["built"])
        publish: Any = task(outlets=[assets.features(source.name)])(steps.publish)
        refuse: Any = task(steps.refuse)
        judged >> [
            publish(draft, draft["built"], judged["judged"]),
            refuse(draft, judged["judged"]),
        ]


for source in SOURCES:
    if source.name in {product.source for product in PRODUCTS}:
        build_features(source)
