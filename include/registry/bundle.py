"""A model as a folder of admitted files, its digest, and the one way to load it.

    model.ubj | model.onnx   the fitted parameters
    schema.json              the inputs and their encoding (`schema.py`)
    reference.json           distributions at training time (`reference.py`)
    training.json            configuration, seed, rounds, device class, library versions

Nothing in it can run code when it is read: XGBoost's binary JSON and ONNX graphs of standard operators hold
numbers only, and everything else is JSON. Pickles, and whatever else is found, are refused unopened.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.registry.errors import DigestMismatch, RefusedFormat
from include.registry.reference import Reference
from include.registry.schema import InputSchema

TREES = "model.ubj"
GRAPH = "model.onnx"
SCHEMA = "schema.json"
REFERENCE = "reference.json"
TRAINING = "training.json"
ADMITTED = frozenset({TREES, GRAPH, SCHEMA, REFERENCE, TRAINING})


class Predictor(Protocol):
    """A loaded model: rows in, scores out."""

    @property
    def schema(self) -> InputSchema:
        """The inputs that it takes."""

    @property
    def reference(self) -> Reference:
        """What it was trained on, as distributions."""

    def predict(self, rows: pa.Table) -> NDArray[np.float64]:
        """[N] scores: the probability of a binary label, or the number itself.

        Raises:
            UnfitInput: A column is missing or of another type.
        """


@dataclass(frozen=True)
class TreesPredictor:
    """Gradient-boosted trees; absent and unseen categories take the default branch."""

    schema: InputSchema
    reference: Reference
    booster: Any

    def predict(self, rows: pa.Table) -> NDArray[np.float64]:
        """[N] scores of [N] rows."""
        matrix = tree_matrix(self.schema, rows)
        return np.asarray(self.booster.inplace_predict(matrix), dtype=np.float64)


@dataclass(frozen=True)
class GraphPredictor:
    """A network as an ONNX graph that holds its own standardisation."""

    schema: InputSchema
    reference: Reference
    session: Any

    def predict(self, rows: pa.Table) -> NDArray[np.float64]:
        """[N] scores of [N] rows."""
        inputs = {"numbers_NF": self.schema.numbers(rows), "codes_NC": self.schema.codes(rows)}
        known = {node.name for node in self.session.get_inputs()}
        (scores_N,) = self.session.run(None, {name: inputs[name] for name in sorted(known)})
        return np.asarray(scores_N, dtype=np.float64)


def tree_matrix(schema: InputSchema, rows: pa.Table) -> NDArray[np.float32]:
    """[N, F + C] float32 for trees: numbers, then category codes from 0; NaN for missing and unseen."""
    codes = schema.codes(rows).astype(np.float32) - 1
    codes[codes < 0] = np.nan
    return np.hstack([schema.numbers(rows), codes])


def write_documents(
    folder: Path, schema: InputSchema, reference: Reference, training: dict[str, Any]
) -> None:
    """Completes a bundle whose model file is already in `folder`."""
    documents = {SCHEMA: schema.to_json(), REFERENCE: reference.to_json(), TRAINING: training}
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")


def digest(folder: Path) -> str:
    """SHA-256, in hex, over the names and the SHA-256 of the files of a bundle.

    Raises:
        RefusedFormat: The folder holds something that no bundle holds, or no model.
    """
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    strange = [name for name in found if name not in ADMITTED]
    models = [name for name in found if name in (TREES, GRAPH)]
    if strange or len(models) != 1:
        raise RefusedFormat(
            f"{folder.name}: not a model bundle: found {', '.join(found) or 'nothing'}.",
            remedy=f"Admitted: one of {TREES} and {GRAPH}, with {SCHEMA}, {REFERENCE}, {TRAINING}.",
        )
    total = hashlib.sha256()
    for name in found:
        total.update(f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def load(folder: Path, *, expected_digest: str) -> Predictor:
    """Loads a bundle after its bytes have been proven to be the expected ones.

    Args:
        folder: The bundle.
        expected_digest: Digest named by the registry or by the release manifest.

    Raises:
        RefusedFormat: The folder is no bundle of admitted formats.
        DigestMismatch: The bytes are others than those that were registered.
    """
    found = digest(folder)
    if found != expected_digest:
        raise DigestMismatch(
            "The model's bytes are not those that were registered; it was not loaded.",
            remedy="Roll back to a version whose digest holds, and find out who changed the artefact.",
            expected=expected_digest,
            found=found,
        )
    schema = InputSchema.from_json(json.loads((folder / SCHEMA).read_text()))
    reference = Reference.from_json(json.loads((folder / REFERENCE).read_text()))
    if (folder / TREES).exists():
        return TreesPredictor(schema, reference, _booster(folder / TREES))
    return GraphPredictor(schema, reference, _session(folder / GRAPH))


def _booster(path: Path) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(path.read_bytes()))
    return booster


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
    )
