"""Build an ONNX graph node by node."""

from collections.abc import Collection
from typing import Any

import numpy as np

ML_DOMAIN = "ai.onnx.ml"  # of the operators beyond neural networks, such as LabelEncoder


class GraphBuilder:
    """Nodes and constants of an ONNX graph, in the order in which they are added. Every value has its own name.

    taken  names of inputs and outputs, which no other value gets
    """

    def __init__(self, taken: Collection[str]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names = set(taken)

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """Add an array and return its name, `name` unless another value has it."""
        from onnx import numpy_helper

        result = self.reserve(name)
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), result))
        return result

    def add(self, operator: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the name of that output, `name` unless another value has it."""
        return self.add_output(operator, *inputs, name=self.reserve(name), domain=domain, **attributes)

    def add_output(self, operator: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node whose output is an output of the graph, under its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def cast(self, value: str, dtype: Any, name: str) -> str:
        """Add a node that converts a value to a NumPy type, and return the name of the result."""
        from onnx import helper

        return self.add("Cast", value, name=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def integer(self, operator: str, value: str, number: int) -> str:
        """Add an operator of an int64 value and a number, and return the name of the result.

        Div rounds towards 0; Mod has the sign of the number.
        """
        constant = self.constant(f"{value}/{operator} number", number, np.int64)
        return self.add(operator, value, constant, name=f"{value}/{operator}")

    def reserve(self, name: str) -> str:
        """Return `name`, with a number where another value has it, and keep it from later values."""
        result = unique_name(name, self.names)
        self.names.add(result)
        return result


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or the first of `name`_2, `name`_3, ... that is not taken."""
    result, number = name, 1
    while result in taken:
        number += 1
        result = f"{name}_{number}"
    return result
