import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from tests.network import torch_reference

Z = np.array([[-800.0, -30.0, -1.5, -0.0], [0.0, 0.7, 30.0, 800.0]])


def both_ways(backend, name, z, da):
    activation = ACTIVATIONS[name]
    at = backend.asarray(z)
    a = activation.forward(at, backend.xp)
    return backend.to_numpy(a), backend.to_numpy(activation.backward(backend.asarray(da), at, a, backend.xp))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_value_and_derivative_equal_pytorch(backend, torch, name):
    z = torch.tensor(Z, requires_grad=True)
    a = torch_reference.ACTIVATIONS[name](torch, z)
    da = np.linspace(-2.0, 3.0, Z.size).reshape(Z.shape)
    a.backward(torch.tensor(da))
    value, carried = both_ways(backend, name, Z, da)
    np.testing.assert_allclose(value, a.detach().numpy(), rtol=1e-15, atol=0)
    np.testing.assert_allclose(carried, z.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_relu_backward_at_zero_is_zero(backend):
    _, carried = both_ways(backend, "relu", np.array([[-1.0, 0.0, 1.0]]), np.array([[5.0, 5.0, 5.0]]))
    assert carried.tolist() == [[0.0, 0.0, 5.0]]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_keeps_dtype_and_shape(backend_of, name, dtype):
    backend = backend_of(dtype)
    for value in both_ways(backend, name, Z.astype(dtype), np.ones_like(Z, dtype)):
        assert value.dtype == dtype
        assert value.shape == Z.shape


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_out_is_finite_and_has_the_limits_of_pytorch(backend_of, torch, name, dtype):
    backend = backend_of(dtype)
    ends = np.array([[-1e4, -1e3, -200.0, 200.0, 1e3, 1e4]], dtype)
    z = torch.tensor(ends, requires_grad=True)
    a = torch_reference.ACTIVATIONS[name](torch, z)
    a.sum().backward()
    value, slope = both_ways(backend, name, ends, np.ones_like(ends))
    np.testing.assert_allclose(value, a.detach().numpy(), rtol=2 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_allclose(slope, z.grad.numpy(), rtol=2 * np.finfo(dtype).eps, atol=1e-80)
    assert np.isfinite([value, slope]).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative_equals_central_differences(backend, name):
    z, h = np.linspace(-6.0, 6.0, 48)[None, :], 1e-6  # 0 is between two points
    _, slope = both_ways(backend, name, z, np.ones_like(z))
    (above, _), (below, _) = (both_ways(backend, name, z + move, z) for move in (h, -h))
    np.testing.assert_allclose(slope, (above - below) / (2 * h), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_has_kink_where_its_derivative_jumps_at_zero(name):
    activation, z = ACTIVATIONS[name], np.array([[-1e-9, 1e-9]])
    left, right = activation.backward(np.ones_like(z), z, activation.forward(z, np), np)[0]
    assert activation.has_kink == (abs(left - right) > 1e-6)
