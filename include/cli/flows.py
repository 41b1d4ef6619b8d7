"""The DAGs that a product takes part in, told without Airflow, which takes seconds to import.

`dags/` is the truth; a test holds the tasks and emitted assets told here to every DAG file that there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from include.spec.product import MONITORED, ModelProduct
from include.spec.source import Source


@dataclass(frozen=True)
class Flow:
    """One DAG.

    Args:
        dag: Its id; the file below `dags/` is named as what stands before `__`.
        started_by: Assets whose event starts it, a cron, or `on demand`.
        steps: Its tasks and what follows each; `|` where one of several is chosen.
        emits: Assets that it tells of.
        writes: Lake paths and other places that it writes.
    """

    dag: str
    started_by: tuple[str, ...]
    steps: str
    emits: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def file(self) -> str:
        """Where the DAG is, relative to the root of the repository."""
        return f"dags/{self.dag.partition('__')[0]}.py"

    @property
    def tasks(self) -> frozenset[str]:
        """Ids of its tasks."""
        return frozenset(self.steps.replace("->", " ").replace("|", " ").split())


def flows_of(product: ModelProduct, source: Source, feature_tables: Mapping[str, str]) -> tuple[Flow, ...]:
    """The DAGs from the product's source to its care, in the order that data take.

    Args:
        product: The product.
        source: Its source.
        feature_tables: Lake path of each feature table of the project.
    """
    raw, features = f"raw/{source.name}", f"features/{source.name}"
    name = product.name
    champion, retrain = f"registry/{name}/champion", f"monitoring/{name}/retrain_request"
    return (
        Flow(
            f"ingest_batch__{source.name}",
            (source.schedule or "on demand",),
            "open_draft -> land -> gate -> publish | refuse",
            (raw,),
            (*(source.prefix(table.name) for table in source.tables), f"{raw}/_gate"),
        ),
        *_captures(source),
        Flow(
            f"build_features__{source.name}",
            (raw,),
            "build -> gate -> publish | refuse",
            (features,),
            (*feature_tables.values(), "features/_gate"),
        ),
        Flow(
            f"train__{name}",
            (features, retrain),
            "pin -> fit -> judge -> release | stop",
            (champion,),
            (
                f"training_sets/{name}/<id>",
                f"releases/{name}/<version>.json",
                f"MLflow: {name}@champion",
            ),
        ),
        Flow(
            f"score__{name}",
            (champion, product.serve.cron or "on demand"),
            "score -> gate -> publish | refuse",
            (f"predictions/{name}",),
            (f"predictions/{name}/as_of=<moment>.parquet",),
        ),
        Flow(
            f"monitor__{name}",
            (f"predictions/{name}", MONITORED),
            "watch -> request_retraining",
            (retrain,),
            (f"monitoring/{name}/as_of=<moment>.json",),
        ),
    )


def _captures(source: Source) -> tuple[Flow, ...]:
    """The DAGs of a source's captured tables; none where it captures none."""
    if source.capture is None:
        return ()
    raw, staged, tables = f"raw/{source.name}", f"staged/{source.name}", source.capture.tables
    return (
        Flow(
            f"ingest_cdc__{source.name}",
            (source.capture.schedule or "on demand",),
            "begin -> follow | open_draft -> capture -> gate -> publish | refuse",
            (f"{raw}/changes",),
            (*(f"{raw}/{table}/changes" for table in tables), f"{raw}/_gate"),
        ),
        Flow(
            f"stage_tables__{source.name}",
            (f"{raw}/changes",),
            "build -> gate -> publish | refuse",
            (staged,),
            (
                *(f"{staged}/{table}{kind}" for table in tables for kind in ("", "__history")),
                f"{staged}/_gate",
            ),
        ),
    )
