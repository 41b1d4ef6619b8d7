"""Embeddings of categories and a multi-layer perceptron, in torch; saved as an ONNX graph.

Shape suffixes: B rows of a batch, N all rows, F number columns, C category columns, E width of one embedding,
H width of a hidden layer. Each number comes with an indicator of whether it was missing.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from include.registry.bundle import GRAPH
from include.registry.schema import InputSchema
from include.spec.training import TabularNet
from include.training.data import TrainingData
from include.training.loop import Fit, Resident, fit_network
from include.training.onnx_graph import GraphBuilder
from include.training.progress import Report


class Network(nn.Module):
    """numbers [B, F] and codes [B, C] in, logit or value [B] out."""

    fill_F: Tensor
    mean_F: Tensor
    scale_F: Tensor

    def __init__(self, schema: InputSchema, config: TabularNet) -> None:
        super().__init__()
        numbers = schema.number_columns
        self.register_buffer("fill_F", torch.tensor([c.fill for c in numbers], dtype=torch.float32))
        self.register_buffer("mean_F", torch.tensor([c.mean for c in numbers], dtype=torch.float32))
        self.register_buffer("scale_F", torch.tensor([c.scale for c in numbers], dtype=torch.float32))
        sizes = [len(c.categories) + 1 for c in schema.category_columns]
        self.embeddings = nn.ModuleList(nn.Embedding(size, width_of(size)) for size in sizes)
        widths = [2 * len(numbers) + sum(width_of(size) for size in sizes), *config.hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(widths[-1], 1)

    def forward(self, numbers_BF: Tensor, codes_BC: Tensor) -> Tensor:
        """The output before any sigmoid, [B]."""
        missing_BF = torch.isnan(numbers_BF)
        filled_BF = torch.where(missing_BF, self.fill_F, numbers_BF)
        standard_BF = (filled_BF - self.mean_F) / self.scale_F
        embedded = [embed(codes_BC[:, i]) for i, embed in enumerate(self.embeddings)]
        x_BH = torch.cat([standard_BF, missing_BF.float(), *embedded], dim=1)
        for layer in self.hidden:
            x_BH = self.dropout(torch.relu(layer(x_BH)))
        out_B: Tensor = self.output(x_BH)[:, 0]
        return out_B


def width_of(categories: int) -> int:
    """Width of an embedding: grows with the fourth root's square, at most 16."""
    return int(min(16, round(1.6 * categories**0.56)))


def fit(config: TabularNet, data: TrainingData, folder: Path, report: Report) -> dict[str, Any]:
    """Trains until the validation loss stops falling and writes the best epoch's graph.

    Returns:
        What happened: `rounds` (epochs) kept, the validation loss there, and the device class.
    """
    torch.manual_seed(config.seed)
    # One thread adds in one order: the same bytes on any number of cores, and faster at this size.
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Network(data.schema, config).to(device)
    train, validation = (
        Resident(
            torch.from_numpy(data.schema.numbers(part.rows)).to(device),
            torch.from_numpy(data.schema.codes(part.rows)).to(device),
            torch.from_numpy(part.label.copy()).to(device),
        )
        for part in (data.train, data.validation)
    )
    best: Fit = fit_network(network, train, validation, config, report)
    (folder / GRAPH).write_bytes(_graph(network.cpu().eval(), data.schema, config.objective))
    return {"rounds": best.epochs, "validation_loss": best.validation_loss, "device": device.type}


def _graph(network: Network, schema: InputSchema, objective: str) -> bytes:
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    build = GraphBuilder()
    parts: list[str] = []
    if schema.number_columns:
        parts += _standardised(build, state)
    for i in range(len(schema.category_columns)):
        column = build.add("Gather", ["codes_NC", build.constant(np.int64(i))], axis=1)
        parts.append(build.add("Gather", [build.constant(state[f"embeddings.{i}.weight"]), column], axis=0))
    x = build.add("Concat", parts, axis=1)
    for i in range(len(network.hidden)):
        x = build.add("Relu", [_linear(build, x, state, f"hidden.{i}")])
    out = build.add("Squeeze", [_linear(build, x, state, "output"), build.constant(np.array([1]))])
    return build.finish(
        build.add("Sigmoid", [out]) if objective == "binary" else out,
        numbers=len(schema.number_columns),
        codes=len(schema.category_columns),
    )


def _standardised(build: GraphBuilder, state: dict[str, NDArray[Any]]) -> list[str]:
    missing = build.add("IsNaN", ["numbers_NF"])
    filled = build.add("Where", [missing, build.constant(state["fill_F"]), "numbers_NF"])
    centred = build.add("Sub", [filled, build.constant(state["mean_F"])])
    return [
        build.add("Div", [centred, build.constant(state["scale_F"])]),
        build.add("Cast", [missing], to=build.float32),
    ]


def _linear(build: GraphBuilder, x: str, state: dict[str, NDArray[Any]], name: str) -> str:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return build.add("Gemm", [x, build.constant(weight), build.constant(bias)], transB=1)
