"""Dense network: forward through the layers, and backpropagation by the paper's general rule (section 3.6)."""

from collections.abc import Sequence
from typing import NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.network.activations import Activation
from lagvis.network.normalization import Normalization, Normalized, normalize, normalize_backward

Params = list[dict[str, Array]]
Masks = Sequence[Array | None]


class Hidden(NamedTuple):
    """What backward needs of a hidden layer: z and a = f(z) (..., B, n_out), and its normalised products if any."""

    z: Array
    a: Array
    normalized: Normalized | None


class Pass(NamedTuple):
    """Forward pass.

    z       of the last layer (..., B, n_L)
    inputs  of each layer: a_0 = x, ..., a_(L-1), after dropout
    hidden  of each layer but the last
    """

    z: Array
    inputs: list[Array]
    hidden: list[Hidden]


def forward(
    params: Params,
    x: Array,
    *,
    activation: Activation,
    normalization: Normalization | None = None,
    masks: Masks = (),
    xp: Namespace,
) -> Pass:
    """x (..., B, n_0) -> the pass through all layers; layers with "gamma" are normalised.

    `masks` are factors (..., B, n_i) of each layer's input, for dropout; empty, or one for each layer (None: no
    dropout there).
    """
    inputs, hidden = [masked(x, masks, 0)], []
    for i, layer in enumerate(params[:-1], start=1):
        z, normalized = inputs[-1] @ layer["W"], None
        if normalization and "gamma" in layer:
            normalized = normalize(z, normalization.axis, xp=xp)
            z = normalized.values * layer["gamma"][..., None, :]
        z = z + layer["b"][..., None, :]
        a = activation.forward(z, xp)
        hidden.append(Hidden(z, a, normalized))
        inputs.append(masked(a, masks, i))
    return Pass(inputs[-1] @ params[-1]["W"] + params[-1]["b"][..., None, :], inputs, hidden)


def masked(a: Array, masks: Masks, i: int) -> Array:
    """Return the values or gradients a (..., B, n_i) at the input of layer i, times its mask if it has one."""
    mask = masks[i] if masks else None
    return a if mask is None else a * mask


def backward(
    params: Params,
    done: Pass,
    delta: Array,
    *,
    activation: Activation,
    normalization: Normalization | None = None,
    masks: Masks = (),
    xp: Namespace,
) -> Params:
    """delta = dL/dz of the last layer (..., B, n_L) -> the gradient, a tree like `params`; `done` is the forward pass.

    Layer by layer from the end: dW = a_prev^T delta, db = sum of delta over rows, delta_prev = (delta W^T) f'(z_prev).
    """
    grads = []
    for i in reversed(range(len(params))):
        layer, scale = params[i], {}
        normalized = done.hidden[i].normalized if i < len(done.hidden) else None
        if normalized is None:
            db = xp.sum(delta, axis=-2)
        else:
            assert normalization is not None, "a normalised layer has a normalisation"
            delta, dgamma, db = normalize_backward(delta, layer["gamma"], normalized, normalization.axis, xp=xp)
            scale = {"gamma": dgamma}
        grads.append({"W": xp.matrix_transpose(done.inputs[i]) @ delta, "b": db, **scale})
        if i > 0:
            before = done.hidden[i - 1]
            da = masked(delta @ xp.matrix_transpose(layer["W"]), masks, i)
            delta = activation.backward(da, before.z, before.a, xp)
    return grads[::-1]
