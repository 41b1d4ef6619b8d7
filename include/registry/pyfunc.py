"""How MLflow's own tools load our bundles: `mlflow.pyfunc.load_model("models:/<product>@champion")`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.registry.bundle import Predictor, digest, load


class _PyFunc:
    """MLflow's face of a predictor: data frames in, scores out."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, frame: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:  # noqa: ARG002
        """[N] scores of [N] rows of a pandas data frame."""
        import pyarrow as pa

        return self._predictor.predict(pa.Table.from_pandas(frame, preserve_index=False))


def _load_pyfunc(data_path: str) -> _PyFunc:
    folder = Path(data_path)
    # Who asks MLflow trusts MLflow's store; the stations compare with a signed manifest's digest instead.
    return _PyFunc(load(folder, expected_digest=digest(folder)))
