"""The matrix products of the steps in three libraries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.cuda.cublas import CublasLt, capturable_products
from benchmarks.cuda.device import Device, time_calls, time_in_graph
from benchmarks.problem import NETWORKS, networks_of

CALLS = 50
ROUNDS = 3
MAX_OPERATIONS_IN_GRAPH = 2e10  # so that a graph of products runs for at most some milliseconds


@dataclass(frozen=True)
class Product:
    """A product (m, k) @ (k, n) of a step: "forward", "dW" (its first operand is transposed) or "dX" (its second)."""

    kind: str
    m: int
    k: int
    n: int

    def __str__(self) -> str:
        return f"{self.kind} {self.m}x{self.k}x{self.n}"

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.k * self.n


def products_of(network: str) -> list[Product]:
    """Return the products of a step of a network of NETWORKS."""
    hidden, batch, _ = NETWORKS[network]
    found = []
    for i, (n_in, n_out) in enumerate(pairwise((784, *hidden, 10))):
        found += [Product("forward", batch, n_in, n_out), Product("dW", n_in, batch, n_out)]
        if i > 0:  # the gradient of the input itself is not computed
            found.append(Product("dX", batch, n_out, n_in))
    return found


def all_products() -> list[Product]:
    """Return the different products of the networks that are measured on a GPU."""
    return list(dict.fromkeys(product for network in networks_of("cuda") for product in products_of(network)))


def operands(cp: Any) -> Iterator[tuple[Product, Any, Any, Any]]:
    """Yield each product with random operands, laid out as in the step, and its float64 result."""
    rng = np.random.default_rng(0)
    for product in all_products():
        shapes = [(product.m, product.k), (product.k, product.n)]
        a, b = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
        # a transposed operand is a view of an array that is stored the other way round
        a = cp.asarray(np.ascontiguousarray(a.T)).T if product.kind == "dW" else cp.asarray(a)
        b = cp.asarray(np.ascontiguousarray(b.T)).T if product.kind == "dX" else cp.asarray(b)
        yield product, a, b, cp.matmul(a.astype("float64"), b.astype("float64"))


def relative_error(cp: Any, found: Any, expected: Any) -> float:
    """Return the norm of the difference over the norm of the float64 result."""
    return float(cp.linalg.norm(found.astype("float64") - expected) / cp.linalg.norm(expected))


def calls_in_graph(product: Product) -> int:
    """Return how often a product is repeated in a graph."""
    return max(1, min(CALLS, int(MAX_OPERATIONS_IN_GRAPH / product.operations)))


def measure_product(cp: Any, product: Product, compute: Callable[[], Any]) -> dict[str, float]:
    """Return microseconds of a product: of the host, of the device between events, and of the device in a graph."""
    times = time_calls(cp, compute, CALLS, ROUNDS)
    return times | {"graph": time_in_graph(cp, compute, calls_in_graph(product))}


def measure_cupy_products(device: Device) -> dict[str, Any]:
    """Measure cupy.matmul, which calls cublasGemmEx; in the graph it is called directly."""
    cp, result = device.cupy, {}
    for product, a, b, expected in operands(cp):
        out = cp.empty((product.m, product.n), dtype="float32")

        def compute(a: Any = a, b: Any = b, out: Any = out) -> None:
            cp.matmul(a, b, out=out)

        compute()
        times = time_calls(cp, compute, CALLS, ROUNDS)
        error = relative_error(cp, out, expected)
        with capturable_products(cp):
            times["graph"] = time_in_graph(cp, compute, calls_in_graph(product))
        result[str(product)] = times | {"error": error}
    return result


def measure_cublaslt_products(device: Device) -> dict[str, Any]:
    """Measure cublasLtMatmul, and the forward products also with bias and ReLU in the same call."""
    cp, result = device.cupy, {}
    library = CublasLt(cp)
    for product, a, b, expected in operands(cp):
        out = cp.zeros((product.m, product.n), dtype="float32")
        compute = library.product(a, b, out)
        compute()
        error = relative_error(cp, out, expected)
        result[str(product)] = measure_product(cp, product, compute) | {"error": error}
        if product.kind == "forward":
            bias = cp.asarray(np.linspace(-1, 1, product.n, dtype=np.float32))
            compute = library.product(a, b, out, bias)
            compute()
            error = relative_error(cp, out, cp.maximum(expected + bias, 0.0))
            result[f"{product} with bias and ReLU"] = measure_product(cp, product, compute) | {"error": error}
    return result


def measure_cutensor_products(device: Device) -> dict[str, Any]:
    """Measure cuTENSOR's contraction, if it is installed."""
    cp, result = device.cupy, {}
    try:
        from cupyx import cutensor
    except ImportError:
        return {"not installed": True}
    for product, a, b, expected in operands(cp):
        out = cp.zeros((product.m, product.n), dtype="float32")

        def compute(a: Any = a, b: Any = b, out: Any = out) -> None:
            cutensor.contraction(1.0, a, ("m", "k"), b, ("k", "n"), 0.0, out, ("m", "n"))

        compute()
        error = relative_error(cp, out, expected)
        result[str(product)] = measure_product(cp, product, compute) | {"error": error}
    return result
