"""The layers of a network as nodes of an ONNX graph.

Normalisation and most activations are built from primitive operators: onnxruntime has those in double, too.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from lagvis.formats.onnx_graph import GraphBuilder
from lagvis.network import activations
from lagvis.network.normalization import EPSILON

OnnxActivation: TypeAlias = Callable[["Formula", str], str]


class Formula:
    """Adds the nodes of a formula: `formula("Mul", z, 0.5)` adds one, and returns the name of its result.

    Numbers become constants of the dtype; names of values begin with `prefix`.
    """

    def __init__(self, graph: GraphBuilder, dtype: Any, prefix: str) -> None:
        self.graph, self.dtype, self.prefix = graph, dtype, prefix

    def __call__(self, operator: str, *values: str | float, **attributes: Any) -> str:
        names = [
            value if isinstance(value, str) else self.graph.constant(f"{self.prefix}/number", value, self.dtype)
            for value in values
        ]
        return self.graph.add(operator, *names, name=f"{self.prefix}/{operator}", **attributes)


def operator(name: str) -> OnnxActivation:
    """Return an activation that is one operator of ONNX."""
    return lambda formula, z: formula(name, z)


def leaky_relu(formula: Formula, z: str) -> str:
    """Add max(z, LEAKY_SLOPE z)."""
    return formula("Max", z, formula("Mul", z, activations.LEAKY_SLOPE))


def elu(formula: Formula, z: str) -> str:
    """Add max(z, exp(min(z, 0)) - 1)."""
    return formula("Max", z, formula("Sub", formula("Exp", formula("Min", z, 0.0)), 1.0))


def selu(formula: Formula, z: str) -> str:
    """Add SELU_SCALE max(z, 0) + SELU_SCALE SELU_ALPHA (exp(min(z, 0)) - 1)."""
    negative = formula("Sub", formula("Exp", formula("Min", z, 0.0)), 1.0)
    left = formula("Mul", negative, activations.SELU_SCALE * activations.SELU_ALPHA)
    return formula("Add", formula("Mul", formula("Max", z, 0.0), activations.SELU_SCALE), left)


def gelu(formula: Formula, z: str) -> str:
    """Add z / 2 (1 + tanh(GELU_SLOPE (z + GELU_CUBIC z^3)))."""
    slope, cubic = activations.GELU_SLOPE, activations.GELU_SLOPE * activations.GELU_CUBIC
    u = formula("Mul", z, formula("Add", formula("Mul", formula("Mul", z, z), cubic), slope))
    return formula("Mul", formula("Mul", z, 0.5), formula("Add", formula("Tanh", u), 1.0))


def silu(formula: Formula, z: str) -> str:
    """Add z sigmoid(z) = z / (1 + exp(-z)), which is -0 where exp(-z) is infinite.

    onnxruntime before 1.32 makes one operator of z sigmoid(z), which it cannot compute in double.
    """
    return formula("Div", z, formula("Add", formula("Exp", formula("Neg", z)), 1.0))


def softplus(formula: Formula, z: str) -> str:
    """Add max(z, 0) + log(1 + exp(-|z|))."""
    e = formula("Exp", formula("Neg", formula("Abs", z)))
    return formula("Add", formula("Max", z, 0.0), formula("Log", formula("Add", e, 1.0)))


# How each activation is built; None means that an ONNX file cannot hold it.
ONNX_ACTIVATIONS: dict[str, OnnxActivation | None] = {
    "relu": operator("Relu"),
    "leaky-relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "silu": silu,
    "softplus": softplus,
    "sigmoid": operator("Sigmoid"),
    "tanh": operator("Tanh"),
    "identity": lambda formula, z: z,
}


def add_layers(graph: GraphBuilder, value: str, params: Any, activation: OnnxActivation) -> str:
    """Add the layers to the value (N, n_in) of that name, and return the name of the last z (N, n_out)."""
    for i, layer in enumerate(params):
        names = {name: graph.constant(f"params.{i}.{name}", array) for name, array in layer.items()}
        if "gamma" in layer:
            value = normalized(Formula(graph, layer["W"].dtype, f"norm{i + 1}"), value, names)
        else:
            value = graph.add("Gemm", value, names["W"], names["b"], name=f"z{i + 1}")
        if i < len(params) - 1:
            value = activation(Formula(graph, layer["W"].dtype, f"a{i + 1}"), value)
    return value


def normalized(formula: Formula, value: str, names: dict[str, str]) -> str:
    """Add a layer with layer normalisation to its input (N, n_in), by the names of its arrays."""
    p = formula("MatMul", value, names["W"])
    centred = formula("Sub", p, formula("ReduceMean", p, axes=[-1], keepdims=1))
    variance = formula("ReduceMean", formula("Mul", centred, centred), axes=[-1], keepdims=1)
    values = formula("Div", centred, formula("Sqrt", formula("Add", variance, EPSILON)))
    return formula("Add", formula("Mul", values, names["gamma"]), names["b"])
