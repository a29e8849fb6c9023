"""Dense network: forward through the layers, and backpropagation by the paper's general rule (section 3.6)."""

from lagvis.arrays import Array, Namespace
from lagvis.network.activations import Activation

Params = list[dict[str, Array]]


def forward(params: Params, x: Array, *, activation: Activation, xp: Namespace) -> tuple[Array, list[Array]]:
    """x (..., B, n_0) -> the last layer's z (..., B, n_L), and each layer's input a_0 = x, ..., a_(L-1)."""
    inputs = [x]
    for layer in params[:-1]:
        z = inputs[-1] @ layer["W"] + layer["b"][..., None, :]
        inputs.append(activation.forward(z, xp))
    return inputs[-1] @ params[-1]["W"] + params[-1]["b"][..., None, :], inputs


def backward(params: Params, inputs: list[Array], delta: Array, *, activation: Activation, xp: Namespace) -> Params:
    """delta = dL/dz of the last layer (..., B, n_L) -> the gradient, a tree like `params`.

    Layer by layer from the end: dW = a_prev^T delta, db = sum of delta over rows, delta_prev = (delta W^T) f'(z_prev).
    """
    grads = []
    for i in reversed(range(len(params))):
        grads.append({"W": xp.matrix_transpose(inputs[i]) @ delta, "b": xp.sum(delta, axis=-2)})
        if i > 0:
            delta = activation.backward(delta @ xp.matrix_transpose(params[i]["W"]), inputs[i], xp)
    return grads[::-1]
