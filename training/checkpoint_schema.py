"""Check the arrays and metadata of a checkpoint before they become a network."""

import math
from typing import Any

import numpy as np

from lagvis.data.scaling import Scaling
from lagvis.network.optimizers import OPTIMIZERS, StateShape
from lagvis.training.checkpoint import all_finite
from lagvis.training.model import MNIST_SHAPE, Model
from lagvis.tree import named_leaves


def take_scaling(arrays: dict[str, np.ndarray], name: str) -> Scaling | None:
    """The scaling of that name, taken out of `arrays`; None where there is none."""
    parts = [arrays.pop(f"{name}.{part}") for part in ("mean", "deviation") if f"{name}.{part}" in arrays]
    if len(parts) == 1:
        raise ValueError(f"half of {name} is missing")
    return Scaling(*parts) if parts else None


def require_int(value: Any, *, least: int = 0) -> int:
    """A whole number from `least`; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} where a whole number from {least} belongs")
    return value


def require_float(value: Any) -> float:
    """A finite number; ValueError for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a number belongs")
    return float(value)


def require_strings(value: Any) -> tuple[str, ...]:
    """Texts; ValueError for anything else."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{value!r} where names belong")
    return tuple(value)


def require_unique_strings(value: Any) -> tuple[str, ...]:
    """Texts, each once; ValueError for anything else."""
    found = require_strings(value)
    if len({*found}) < len(found):
        raise ValueError(f"{value!r} where names belong, each once")
    return found


def known_state_shapes() -> dict[str, StateShape]:
    """Return the parameters and every state of every optimizer in the table, by name, with their shapes."""
    known = {"params": StateShape.LIKE_PARAMS}
    for entry in OPTIMIZERS.values():
        known |= entry.states
    return known


def check_names(state: Any) -> None:
    """Raise ValueError unless the state holds parameters and states that an optimizer may keep, all of one dtype.

    A tree like the parameters has W and b in every layer and nothing else; a scalar is one array.
    """
    known = known_state_shapes()
    strange = {*state} - {*known}
    for key in {*state} & {*known}:
        if known[key] is StateShape.SCALAR:
            strange |= {f"{key}.{name}" for name, _ in named_leaves(state[key]) if name}
            continue
        layers = state[key] if isinstance(state[key], list) else [{}]
        strange |= {f"{key}.{i}.{name}" for i, layer in enumerate(layers) for name in {*layer} ^ {"W", "b"}}
    if strange:
        raise ValueError(f"{', '.join(sorted(strange))} beside what belongs there, or missing")
    dtypes = sorted({str(leaf.dtype) for _, leaf in named_leaves(state)})
    if dtypes not in (["float32"], ["float64"]):
        raise ValueError(f"numbers of type {' and '.join(dtypes)}, expected float32 or float64 throughout")


def check_layers(params: Any) -> tuple[int, ...]:
    """The widths of layers that fit each other; ValueError if they do not."""
    widths: list[int] = []
    for i, layer in enumerate(params):
        n_in, n_out = layer["W"].shape
        if layer["b"].shape != (n_out,) or (widths and widths[-1] != n_in):
            raise ValueError(
                f"layer {i} has W {layer['W'].shape} and b {layer['b'].shape} after a width of {widths[-1:]}"
            )
        widths += [n_out] if widths else [n_in, n_out]
    if not widths:
        raise ValueError("no layers")
    return tuple(widths)


def check_meaning(model: Model, state: Any) -> None:
    """ValueError unless shape, names, scalings and optimizer states fit the layers, and every number is finite."""
    n_in, n_out = model.widths[0], model.widths[-1]
    if math.prod(model.shape) != n_in:
        raise ValueError(f"rows of shape {model.shape} for {n_in} inputs")
    if len(model.class_names or model.target_names) != n_out or (model.class_names and model.target_names):
        raise ValueError(f"{len(model.class_names)} classes and {len(model.target_names)} targets for {n_out} outputs")
    for scaling, width in ((model.x_scaling, n_in), (model.y_scaling, n_out)):
        if scaling is None:
            continue
        if not scaling.mean.shape == scaling.deviation.shape == (width,):
            raise ValueError(f"a scaling of {scaling.mean.shape} for {width} columns")
        if not all_finite(vars(scaling)) or not (scaling.deviation > 0).all():
            raise ValueError("a scaling by numbers that are none, or by 0")
    if (model.y_scaling is not None) != bool(model.target_names):
        raise ValueError("numbers are predicted with a scaling, classes without")
    shapes = {name: leaf.shape for name, leaf in named_leaves(state["params"])}
    known = known_state_shapes()
    for key, tree in state.items():
        expected = {"": ()} if known[key] is StateShape.SCALAR else shapes
        if {name: leaf.shape for name, leaf in named_leaves(tree)} != expected:
            raise ValueError(f"{key} does not fit the parameters")
    for name, leaf in named_leaves(state):
        if not np.isfinite(leaf).all():
            raise ValueError(f"{name} holds numbers that are none")


def check_rows(model: Model) -> None:
    """ValueError unless what is said of the rows that the network learned from can be."""
    if len(model.feature_names) not in (0, model.widths[0]) or model.background > 255:
        raise ValueError(
            f"{len(model.feature_names)} names for {model.widths[0]} columns, a background of {model.background}"
        )
    if model.mnist_style and (model.shape != MNIST_SHAPE or model.x_scaling is not None):
        raise ValueError(f"rows of shape {model.shape} as digits of 28x28 bytes")


def check_totals(model: Model, totals: Any) -> None:
    """ValueError unless the sums of an epoch that has begun are those of such a model, or there are none."""
    kind = {"squared_error": (model.widths[-1],)} if model.target_names else {"correct": ()}
    plain: dict[str, Any] = {"loss": (), "weight": ()} | kind
    optional: dict[str, Any] = {"rows": (), "objective": ()}
    found = {name: leaf.shape for name, leaf in named_leaves(totals)}
    if totals and not plain.items() <= found.items() <= (plain | optional).items():
        raise ValueError("sums that do not belong to such a network")
    if not all_finite(totals):
        raise ValueError("sums that are no numbers")


def require_choice(known: Any, name: str) -> str:
    """`name`, if it is known; ValueError if not."""
    if name not in known:
        raise ValueError(f"unknown function {name!r}")
    return name
