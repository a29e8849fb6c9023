"""Activation functions, elementwise on z (..., B, n), each with the rule that carries delta back through it.

A derivative is written with the value a where that is cheaper than with z. None uses `xp.where` with a number, for
which NumPy needs several times as long as for the arithmetic in its place.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from lagvis.arrays import Array, Namespace
from lagvis.network.initializers import Initializer, glorot_uniform, he_normal, lecun_normal

LEAKY_SLOPE = 0.01
# The fixed point of mean 0 and variance 1: Klambauer et al. 2017, equation 14.
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_SLOPE, GELU_CUBIC = math.sqrt(2.0 / math.pi), 0.044715


class Activation(NamedTuple):
    """`forward(z, xp) -> a` and `backward(da, z, a, xp) -> da * f'(z)`, all of one shape (..., B, n).

    initializer  draws the weights of the layers around it
    has_kink     whether f' jumps at z = 0, so that two correct backends may differ there
    """

    forward: Callable[[Array, Namespace], Array]
    backward: Callable[[Array, Array, Array, Namespace], Array]
    initializer: Initializer
    has_kink: bool = False


def relu(z: Array, xp: Namespace) -> Array:
    """a = max(0, z)."""
    return xp.maximum(z, 0.0)


def relu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = 1 where z > 0, else 0 (the paper's choice at the kink); a > 0 exactly where z > 0."""
    return da * xp.astype(a > 0, da.dtype)


def leaky_relu(z: Array, xp: Namespace) -> Array:
    """a = max(z, LEAKY_SLOPE z): Maas et al. 2013."""
    return xp.maximum(z, LEAKY_SLOPE * z)


def leaky_relu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = 1 where z > 0, else LEAKY_SLOPE."""
    return da * xp.maximum(xp.astype(a > 0, da.dtype), LEAKY_SLOPE)


def elu(z: Array, xp: Namespace) -> Array:
    """a = z where z > 0, else exp(z) - 1, which is never below z: Clevert et al. 2016 (arXiv:1511.07289)."""
    return xp.maximum(z, xp.expm1(xp.minimum(z, 0.0)))


def elu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = 1 where z > 0, else exp(z) = a + 1."""
    return da * (xp.minimum(a, 0.0) + 1.0)


def selu(z: Array, xp: Namespace) -> Array:
    """a = SELU_SCALE (z where z > 0, else SELU_ALPHA (exp(z) - 1)): Klambauer et al. 2017 (arXiv:1706.02515)."""
    negative = (SELU_SCALE * SELU_ALPHA) * xp.expm1(xp.minimum(z, 0.0))
    return SELU_SCALE * xp.maximum(z, 0.0) + negative  # one of the two is 0


def selu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = SELU_SCALE where z > 0, else SELU_SCALE SELU_ALPHA exp(z) = a + SELU_SCALE SELU_ALPHA."""
    left = SELU_SCALE * SELU_ALPHA  # slope on the left of z = 0
    return da * ((xp.minimum(a, 0.0) + left) - (left - SELU_SCALE) * xp.astype(a > 0, da.dtype))


def gelu(z: Array, xp: Namespace) -> Array:
    """a = z / 2 (1 + tanh(u)), u = GELU_SLOPE (z + GELU_CUBIC z^3), near z Phi(z): Hendrycks and Gimpel 2016.

    This is the form with tanh (`approximate="tanh"` in PyTorch); the standard has no error function for the other.
    """
    return (0.5 * z) * (1.0 + gelu_tanh(z, xp))


def gelu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = (1 + t) / 2 + z / 2 (1 - t^2) u'(z), t = tanh(u), u'(z) = GELU_SLOPE (1 + 3 GELU_CUBIC z^2)."""
    t = gelu_tanh(z, xp)
    slope = z * z * (3.0 * GELU_SLOPE * GELU_CUBIC) + GELU_SLOPE
    return da * (0.5 * (1.0 + t + (1.0 - t * t) * z * slope))


def gelu_tanh(z: Array, xp: Namespace) -> Array:
    """Return tanh(GELU_SLOPE (z + GELU_CUBIC z^3))."""
    return xp.tanh(z * (z * z * (GELU_SLOPE * GELU_CUBIC) + GELU_SLOPE))


def silu(z: Array, xp: Namespace) -> Array:
    """a = z sigmoid(z), also called swish: Elfwing et al. 2018 (arXiv:1702.03118)."""
    return z * sigmoid(z, xp)


def silu_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = s + z s (1 - s) = s + a (1 - s), s = sigmoid(z)."""
    s = sigmoid(z, xp)
    return da * (s + a * (1.0 - s))


def softplus(z: Array, xp: Namespace) -> Array:
    """a = log(1 + exp(z)) = max(0, z) + log(1 + exp(-|z|)): Dugas et al. 2001; nothing overflows."""
    return xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z)))


def softplus_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = sigmoid(z) = 1 - exp(-a)."""
    return da * -xp.expm1(-a)


def sigmoid(z: Array, xp: Namespace) -> Array:
    """a = 1 / (1 + exp(-z)); the exponent is never positive, so nothing overflows."""
    e = xp.exp(-xp.abs(z))
    return xp.maximum(xp.astype(z >= 0, e.dtype), e) / (1.0 + e)  # 1 or e, and e <= 1


def sigmoid_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = a (1 - a)."""
    return da * (a * (1.0 - a))


def tanh(z: Array, xp: Namespace) -> Array:
    """a = tanh(z)."""
    return xp.tanh(z)


def tanh_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = 1 - a^2."""
    return da * (1.0 - a * a)


def identity(z: Array, xp: Namespace) -> Array:
    """a = z."""
    return z


def identity_backward(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """f'(z) = 1."""
    return da


# An entry also needs one in ONNX_ACTIVATIONS and in PAGE_ACTIVATIONS (formats/), which say whether exports can hold it.
ACTIVATIONS = {
    "relu": Activation(relu, relu_backward, he_normal, has_kink=True),
    "leaky-relu": Activation(leaky_relu, leaky_relu_backward, he_normal, has_kink=True),
    "elu": Activation(elu, elu_backward, he_normal),
    "selu": Activation(selu, selu_backward, lecun_normal, has_kink=True),
    "gelu": Activation(gelu, gelu_backward, he_normal),
    "silu": Activation(silu, silu_backward, he_normal),
    "softplus": Activation(softplus, softplus_backward, he_normal),
    "sigmoid": Activation(sigmoid, sigmoid_backward, glorot_uniform),
    "tanh": Activation(tanh, tanh_backward, glorot_uniform),
    "identity": Activation(identity, identity_backward, glorot_uniform),
}
