"""Measure how far rounding moves each number that a step computes, by Monte Carlo arithmetic (docs/math.md).

The step itself runs several times in float64 on arrays that add to every result a random error of the size that
rounding would give it. How far the numbers of the new state move is the size of their rounding errors, whatever the
step consists of: terms that cancel, means over a batch, divisions by small numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lagvis.backends.numpy_backend import NumpyBackend
from lagvis.tree import Tree, tree_map

# Largest difference allowed in one step, in standard deviations of its rounding.
MAX_ERROR = 12.0
# Runs with random rounding from which the deviations are taken.
SAMPLES = 8
# Smallest relative error whose effect float64 still resolves: in float64 the errors of the samples are larger than
# those of rounding, and the deviations in units of epsilon are the same.
MIN_SAMPLED_EPSILON = 1e-12
# Functions by the error of their result: none, that of a sum of products, one rounding; others have more.
EXACT = (np.maximum, np.minimum, np.negative, np.absolute, np.sign, np.positive, np.conjugate, np.copysign, np.floor)
SUMS = (np.matmul, np.vecdot)
ROUNDED_ONCE = (np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.square, np.reciprocal)
# Standard deviation of a rounding error, uniform from -1/2 to 1/2, in units of epsilon times the result.
ROUNDING = 1.0 / math.sqrt(12.0)
# The same of exp, log, tanh and others, whose errors differ between libraries by a few units in the last place.
FUNCTION_ROUNDING = 1.0
BYTES_DEVIATION = math.sqrt((256**2 - 1) / 12.0)  # standard deviation of a uniform random byte


class Rounding:
    """Random rounding errors of standard deviation `size` times that of an epsilon of 1."""

    def __init__(self, size: float, seed: int) -> None:
        self.size = size
        self.xp = RoundedNamespace(self)
        self._generator = np.random.default_rng(seed)

    def array(self, values: Any) -> "RoundedArray":
        """Return real numbers as an array whose operations are rounded."""
        array = np.asarray(values).view(RoundedArray)
        array.rounding = self
        return array

    def rounded(self, values: np.ndarray, deviation: Any, *, common: bool = True) -> "RoundedArray":
        """Return values (...) plus an error of each, and one `common` to all, relative to this deviation (...).

        The common error stands for constants, which are rounded too, and for functions whose errors have one sign.
        """
        errors = self._generator.integers(-128, 128, np.shape(values), np.int8)
        shift = self._generator.normal(0.0, BYTES_DEVIATION) if common else 0.0
        return self.array(values + (errors + shift) * (deviation * (self.size / BYTES_DEVIATION)))

    def inputs(self, tree: Tree) -> Tree:
        """Return a tree of arrays, with its real numbers rounded once, as a dtype does that they are converted to."""
        return tree_map(lambda a: self.rounded(a, ROUNDING * np.abs(a)) if a.dtype.kind == "f" else a, tree)


class RoundedArray(np.ndarray):
    """Array of float64 whose operations have the random errors of its `rounding`."""

    rounding: Rounding

    def __array_finalize__(self, other: Any) -> None:
        if isinstance(other, RoundedArray):
            self.rounding = other.rounding

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        rounding = next(a.rounding for a in inputs if isinstance(a, RoundedArray))
        plain = [a.view(np.ndarray) if isinstance(a, RoundedArray) else a for a in inputs]
        values = np.asarray(getattr(ufunc, method)(*plain, **options))
        if values.dtype.kind != "f":
            result: Any = values
        elif ufunc in EXACT:
            result = rounding.array(values)
        else:
            is_sum = method == "reduce" or ufunc in SUMS
            result = rounding.rounded(values, deviation_of(ufunc, method, plain, options, values), common=not is_sum)
        if out is None:
            return result
        out[0][...] = result
        return out[0]


def deviation_of(ufunc: np.ufunc, method: str, inputs: list[Any], options: dict[str, Any], values: np.ndarray) -> Any:
    """Return the standard deviation (...) of the rounding errors of an operation's result `values` (...)."""
    if ufunc in SUMS:
        a, b = inputs
        axis = -2 if ufunc is np.matmul and np.ndim(b) > 1 else -1
        return sum_deviation(values, ufunc(a * a, b * b, **options), np.shape(b)[axis])
    if method == "reduce":
        squares = ufunc.reduce(np.square(inputs[0]), **options)
        return sum_deviation(values, squares, np.size(inputs[0]) // max(np.size(values), 1))
    return (ROUNDING if ufunc in ROUNDED_ONCE else FUNCTION_ROUNDING) * np.abs(values)


def sum_deviation(total: np.ndarray, squares: np.ndarray, terms: int) -> np.ndarray:
    """Return the deviation of the rounding error of a sum of so many terms, added one by one in any order.

    Each addition rounds a partial sum. Over all orders, the squares of the partial sums add up to n/3 times the square
    of the total plus n/6 times the sum of the terms' squares; the terms are products, which are rounded too.
    """
    return ROUNDING * np.sqrt(terms / 3.0 * total * total + (terms / 6.0 + 1.0) * squares)


class RoundedNamespace:
    """NumPy's namespace of the Array API whose functions return arrays with the errors of a `Rounding`."""

    def __init__(self, rounding: Rounding) -> None:
        self._rounding = rounding

    def __getattr__(self, name: str) -> Any:
        member = getattr(NumpyBackend.xp, name)
        if not callable(member) or isinstance(member, type):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            result = member(*arguments, **options)
            is_real = isinstance(result, np.ndarray | np.generic) and result.dtype.kind == "f"
            return self._rounding.array(result) if is_real else result

        return call


def sampled_deviations(run: Callable[[Rounding], Tree], exact: Tree, epsilon: float) -> Tree:
    """Return the standard deviation of the rounding errors of each number of `exact`, in units of `epsilon`.

    run      computes the numbers of `exact` with a `Rounding`
    exact    tree of float64 arrays, the numbers without rounding
    epsilon  of the dtype whose rounding is meant
    """
    size = max(epsilon, MIN_SAMPLED_EPSILON)
    squares = tree_map(np.zeros_like, exact)
    for sample in range(SAMPLES):
        squares = tree_map(lambda s, a, b: s + (np.asarray(a) - b) ** 2, squares, run(Rounding(size, sample)), exact)
    return tree_map(lambda s: np.sqrt(s / SAMPLES) / size, squares)


def bound(deviation: np.ndarray, values: np.ndarray, epsilon: float) -> np.ndarray:
    """Return how far each number of a tensor may differ, from the deviations in units of epsilon.

    A deviation is an estimate from few samples, so that it is at least the median of its tensor, and the rounding of
    the tensor's largest number.
    """
    positive = deviation[deviation > 0]
    least = max(np.median(positive) if positive.size else 0.0, ROUNDING * float(np.max(np.abs(values))))
    return np.asarray(MAX_ERROR * epsilon * np.maximum(deviation, least))
