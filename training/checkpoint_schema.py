"""Check the arrays and metadata of a checkpoint before they become a network."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from lagvis.data.feature_ranges import BYTES, FEATURE_KINDS, FeatureRanges
from lagvis.data.json_fields import require_choice, require_float, require_int
from lagvis.data.scaling import Scaling
from lagvis.data.tables.encoding import TableEncoding
from lagvis.network.losses import REGRESSION_LOSSES
from lagvis.network.normalization import NORMALIZATIONS, RUNNING
from lagvis.network.optimizers import OPTIMIZERS, StateShape
from lagvis.training.checkpoint import all_finite
from lagvis.training.model import MNIST_SHAPE, Model
from lagvis.tree import named_leaves


def take_scaling(arrays: dict[str, np.ndarray], name: str) -> Scaling | None:
    """Remove the scaling of that name from `arrays` and return it; None if there is none."""
    mean, deviation = (arrays.pop(f"{name}.{part}", None) for part in ("mean", "deviation"))
    limit = arrays.pop(f"{name}.limit", np.array(math.inf))
    if mean is None and deviation is None:
        return None
    if mean is None or deviation is None:
        raise ValueError(f"half of {name} is missing")
    if limit.shape != () or limit.dtype != np.float64 or not limit > 0:
        raise ValueError(f"{name} with the limit {limit}, expected a number above 0")
    return Scaling(mean, deviation, float(limit))


def take_pixel_mean(arrays: dict[str, np.ndarray]) -> float:
    """Remove the mean of the training pixels from `arrays` and return it; 0 if there is none.

    ValueError unless it is a number from 0 to 1.
    """
    mean = arrays.pop("pixel_mean", np.zeros(()))
    if mean.shape != () or mean.dtype != np.float64 or not 0.0 <= float(mean) <= 1.0:
        raise ValueError(f"a mean pixel of {mean}, expected a number from 0 to 1")
    return float(mean)


def take_ranges(
    arrays: dict[str, np.ndarray], meaning: dict[str, Any], encoding: TableEncoding | None
) -> FeatureRanges | None:
    """Remove the ranges of the features from `arrays` and return them; None in a checkpoint of an earlier version.

    `encoding` is that of the columns of the training table, if there was one.
    """
    if "feature_kind" not in meaning:
        return None
    picture_range = meaning["picture_range"]
    if picture_range is not None:
        low, high = map(require_float, picture_range)
        if low >= high:
            raise ValueError(f"pictures whose values go from {low} to {high}")
        picture_range = (low, high)
    return FeatureRanges(
        arrays.pop("ranges.low"),
        arrays.pop("ranges.high"),
        kind=require_choice(FEATURE_KINDS, meaning["feature_kind"]),
        rows=require_int(meaning["training_rows"], minimum=1),
        picture_range=picture_range,
        feature_kinds=() if encoding is None or encoding.is_plain else encoding.feature_kinds,
    )


def known_state_shapes() -> dict[str, StateShape]:
    """Return every state of every optimizer in the table, by name, with its shape."""
    known: dict[str, StateShape] = {}
    for entry in OPTIMIZERS.values():
        known |= entry.states
    return known


def check_names(state: Any, normalization: str) -> None:
    """Raise ValueError unless the state holds parameters and states that a run may keep, all of one dtype.

    Parameters have W and b in every layer, and gamma in hidden layers that are normalised.
    """
    known = known_state_shapes()
    depth = len(state["params"]) if isinstance(state["params"], list) else 0
    kind = NORMALIZATIONS[normalization]
    hidden = {"W", "b"} if kind is None else {"W", "b", "gamma"}
    running = {*RUNNING} if kind is not None and kind.has_running else set()
    expected = {
        "params": [hidden] * (depth - 1) + [{"W", "b"}] * (depth > 0),
        "ema": [hidden | running] * (depth - 1) + [{"W", "b"}] * (depth > 0),
        "running": [running] * (depth - 1),
    }
    if not running or depth < 2:
        del expected["running"]
    expected |= {name: expected["params"] for name, shape in known.items() if shape is StateShape.LIKE_PARAMS}
    strange = {*state} - {*known} - {*expected}
    if running and depth > 1 and "running" not in state:
        strange |= {"running"}
    for key in {*state} - strange:
        if key in known and known[key] is StateShape.SCALAR:
            strange |= {f"{key}.{name}" for name, _ in named_leaves(state[key]) if name}
            continue
        layers = state[key] if isinstance(state[key], list) else []
        for i, names in enumerate(expected[key]):
            found = {*layers[i]} if i < len(layers) else set()
            strange |= {f"{key}.{i}.{name}" for name in found ^ names}
    if strange:
        raise ValueError(f"unexpected or missing arrays: {', '.join(sorted(strange))}")
    dtypes = sorted({str(leaf.dtype) for _, leaf in named_leaves(state)})
    if dtypes not in (["float32"], ["float64"]):
        raise ValueError(f"numbers of type {' and '.join(dtypes)}, expected float32 or float64 throughout")


def check_layers(params: Any) -> tuple[int, ...]:
    """Return the widths of the layers; ValueError if two layers do not fit each other."""
    widths: list[int] = []
    for i, layer in enumerate(params):
        n_in, n_out = layer["W"].shape
        if any(a.shape != (n_out,) for name, a in layer.items() if name != "W") or (widths and widths[-1] != n_in):
            raise ValueError(
                f"layer {i} has W {layer['W'].shape} and b {layer['b'].shape} after a width of {widths[-1:]}"
            )
        widths += [n_out] if widths else [n_in, n_out]
    if not widths:
        raise ValueError("no layers")
    return tuple(widths)


def check_meaning(model: Model, state: Any) -> None:
    """Raise ValueError unless shape, names, scalings and optimizer states fit the layers and are finite."""
    n_in, n_out = model.widths[0], model.widths[-1]
    if math.prod(model.shape) != n_in:
        raise ValueError(f"rows of shape {model.shape} for {n_in} inputs")
    if len(model.class_names or model.target_names) != n_out or (model.class_names and model.target_names):
        raise ValueError(f"{len(model.class_names)} classes and {len(model.target_names)} targets for {n_out} outputs")
    for scaling, width in ((model.x_scaling, n_in), (model.y_scaling, n_out)):
        if scaling is None:
            continue
        if not scaling.mean.shape == scaling.deviation.shape == (width,):
            raise ValueError(f"a scaling of shape {scaling.mean.shape} for {width} columns")
        if not all_finite(scaling.mean) or not (scaling.deviation > 0).all():
            raise ValueError("a scaling whose mean is not finite or whose deviation is not positive")
    targets = model.y_scaling
    if targets is not None and (targets.constant.any() or math.isfinite(targets.limit)):
        raise ValueError("a scaling of targets that cannot be undone")
    if not (model.y_scaling is not None) == bool(model.target_names) == (model.loss in REGRESSION_LOSSES):
        raise ValueError("names and a scaling of targets must be there for regression, and only then")
    check_state(model, state)


def check_state(model: Model, state: Any) -> None:
    """Raise ValueError unless the states fit the layers of the model and are finite."""
    known = known_state_shapes()
    for key, tree in state.items():
        if not fits(tree, model, scalar=known.get(key) is StateShape.SCALAR):
            raise ValueError(f"{key} does not fit the parameters")
    for name, leaf in named_leaves(state):
        if not np.isfinite(leaf).all():
            raise ValueError(f"{name} is not finite")
    for layer in (*state.get("running", []), *state.get("ema", [])):
        if "variance" in layer and (layer["variance"] < 0).any():
            raise ValueError("a running variance below 0")


def fits(tree: Any, model: Model, *, scalar: bool) -> bool:
    """Return whether the shapes of a state are those of the layers of a model, or it is one number if `scalar`."""
    if scalar:
        return isinstance(tree, np.ndarray) and tree.shape == ()
    shapes = list(pairwise(model.widths))[: len(tree)]
    return len(tree) >= len(model.widths) - 2 and all(
        a.shape == ((n_in, n_out) if name == "W" else (n_out,))
        for layer, (n_in, n_out) in zip(tree, shapes, strict=True)
        for name, a in layer.items()
    )


def check_rows(model: Model) -> None:
    """Raise ValueError unless names, background, style and ranges of the training rows fit the model."""
    if len(model.feature_names) not in (0, model.widths[0]) or model.background > 255:
        raise ValueError(
            f"{len(model.feature_names)} names for {model.widths[0]} columns, a background of {model.background}"
        )
    repeated = len({*model.label_columns}) < len(model.label_columns)
    last = model.widths[0] + len(model.label_columns)
    if repeated or (model.encoding is None and any(c > last for c in model.label_columns)):
        raise ValueError(f"the label columns {model.label_columns} beside {model.widths[0]} features")
    if model.encoding is not None and len(model.encoding.feature_names) != model.widths[0]:
        raise ValueError(f"columns of {len(model.encoding.feature_names)} features for {model.widths[0]} inputs")
    if model.pixel_mean and model.x_scaling is not None:
        raise ValueError("a mean pixel for rows that are no bytes")
    has_picture_range = model.ranges is not None and model.ranges.picture_range is not None
    if model.mnist_style and (model.shape != MNIST_SHAPE or not (model.x_scaling is None or has_picture_range)):
        raise ValueError(f"rows of shape {model.shape} as digits of 28x28 pixels")
    if model.ranges is not None:
        check_ranges(model.ranges, model.widths[0], is_bytes=model.x_scaling is None)


def check_ranges(ranges: FeatureRanges, n_in: int, *, is_bytes: bool) -> None:
    """Raise ValueError unless the ranges are those of `n_in` features, which `is_bytes` or not."""
    if not ranges.low.shape == ranges.high.shape == (n_in,):
        raise ValueError(f"ranges of shape {ranges.low.shape} and {ranges.high.shape} for {n_in} features")
    if ranges.feature_kinds and ranges.picture_range is not None:
        raise ValueError("encoded columns as pictures")
    if not ranges.low.dtype == ranges.high.dtype == np.float64 or not all_finite([ranges.low, ranges.high]):
        raise ValueError("ranges that are not finite float64 numbers")
    if (ranges.low > ranges.high).any():
        raise ValueError("a feature whose smallest value is above its largest")
    if (ranges.kind == BYTES) != is_bytes or (is_bytes and (ranges.low.min() < 0 or ranges.high.max() > 255)):
        raise ValueError(f"features that are {ranges.kind}, from {ranges.low.min()} to {ranges.high.max()}")


def check_totals(model: Model, totals: Any) -> None:
    """Raise ValueError unless the totals are empty or those of such a model, and finite."""
    kind: dict[str, Any] = {"squared_error": (model.widths[-1],)} if model.target_names else {"correct": ()}
    if model.multi_label:
        kind["exact"] = ()
    plain: dict[str, Any] = {"loss": (), "weight": ()} | kind
    optional: dict[str, Any] = {"rows": (), "objective": ()}
    found = {name: leaf.shape for name, leaf in named_leaves(totals)}
    if totals and not plain.items() <= found.items() <= (plain | optional).items():
        raise ValueError("totals that do not belong to such a network")
    if not all_finite(totals):
        raise ValueError("totals that are not finite")
