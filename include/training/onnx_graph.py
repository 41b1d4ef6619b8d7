"""Writes a network as an ONNX graph of standard operators, node by node.

torch's own exporter traces, optimises and takes ten seconds for what is a dozen known nodes; this takes none,
and the graph is the same bytes for the same weights.

Source: the ONNX operator set, version 17 (https://onnx.ai/onnx/operators/).
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Collects nodes and constants; inputs are `numbers_NF` (float32) and `codes_NC` (int64)."""

    float32 = TensorProto.FLOAT

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Adds a tensor; returns its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def finish(self, output: str, *, numbers: int, codes: int) -> bytes:
        """The checked model, serialised, with `output` [N] as its only output."""
        self._nodes.append(helper.make_node("Identity", [output], ["scores_N"]))
        inputs = []
        if numbers:
            inputs.append(helper.make_tensor_value_info("numbers_NF", TensorProto.FLOAT, ["N", numbers]))
        if codes:
            inputs.append(helper.make_tensor_value_info("codes_NC", TensorProto.INT64, ["N", codes]))
        scores = helper.make_tensor_value_info("scores_N", TensorProto.FLOAT, ["N"])
        graph = helper.make_graph(self._nodes, "tabular_net", inputs, [scores], self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="headrace"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        serialised: bytes = model.SerializeToString(deterministic=True)
        return serialised
