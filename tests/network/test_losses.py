from functools import partial

import numpy as np
import pytest

from lagvis.network.losses import (
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_absolute_error,
    mean_squared_error,
    one_hot,
)

rng = np.random.default_rng(3)
Z = rng.normal(0, 3, (5, 4))
Y = np.array([0, 3, 1, 1, 2], dtype=np.uint8)
ONE_HOT = np.eye(4)[Y]


def evaluate(backend, loss, z, target):
    _, objective, delta = loss(backend.asarray(z), backend.asarray(target), xp=backend.xp)
    return backend.to_numpy(objective), backend.to_numpy(delta)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_cross_entropy_with_smoothing_reports_the_plain_loss(backend, smoothing):
    plain, _ = evaluate(backend, cross_entropy, Z, ONE_HOT)
    losses, _, _ = cross_entropy(backend.asarray(Z), backend.asarray(ONE_HOT), smoothing=smoothing, xp=backend.xp)
    np.testing.assert_array_equal(backend.to_numpy(losses), plain)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_and_gradient_equal_pytorch(backend, torch, smoothing):
    z = torch.tensor(Z, requires_grad=True)
    labels = torch.tensor(Y.astype(np.int64))
    expected = torch.nn.functional.cross_entropy(z, labels, label_smoothing=smoothing, reduction="none")
    expected.sum().backward()
    rows, delta = evaluate(backend, partial(cross_entropy, smoothing=smoothing), Z, ONE_HOT)
    np.testing.assert_allclose(rows, expected.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(delta, z.grad.numpy(), rtol=1e-13, atol=1e-16)


def test_mean_squared_error_and_gradient_equal_pytorch(backend, torch):
    z = torch.tensor(Z, requires_grad=True)
    target = rng.normal(0, 1, Z.shape)
    expected = torch.nn.functional.mse_loss(z, torch.tensor(target), reduction="none").mean(dim=-1)
    expected.sum().backward()
    rows, delta = evaluate(backend, mean_squared_error, Z, target)
    np.testing.assert_allclose(rows, expected.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(delta, z.grad.numpy(), rtol=1e-14)


def torch_value_and_gradient(torch, name, target, **options):
    """Return the losses of rows, a mean over their outputs, and their gradients by Z, of torch.nn.functional."""
    z = torch.tensor(Z, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(z, torch.tensor(target), reduction="none", **options).mean(dim=-1)
    expected.sum().backward()
    return expected.detach().numpy(), z.grad.numpy()


def test_mean_absolute_error_and_gradient_equal_pytorch(backend, torch):
    target = rng.normal(0, 1, Z.shape)
    target[1, 2] = Z[1, 2]  # where the error is 0, so is the gradient
    expected, gradient = torch_value_and_gradient(torch, "l1_loss", target)
    rows, delta = evaluate(backend, mean_absolute_error, Z, target)
    np.testing.assert_allclose(rows, expected, rtol=1e-14)
    np.testing.assert_array_equal(delta, gradient)


@pytest.mark.parametrize("huber_delta", [0.5, 1.0, 3.0])
def test_huber_and_gradient_equal_pytorch(backend, torch, huber_delta):
    target = rng.normal(0, 1, Z.shape)
    target[1, 2] = Z[1, 2] + huber_delta  # where both formulas meet
    expected, gradient = torch_value_and_gradient(torch, "huber_loss", target, delta=huber_delta)
    rows, delta = evaluate(backend, partial(huber, huber_delta=huber_delta), Z, target)
    np.testing.assert_allclose(rows, expected, rtol=1e-14)
    np.testing.assert_allclose(delta, gradient, rtol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_binary_cross_entropy_and_gradient_equal_pytorch(backend, torch, smoothing):
    labels = rng.integers(0, 2, Z.shape).astype(float)
    smoothed = labels * (1 - smoothing) + smoothing / 2
    expected, gradient = torch_value_and_gradient(torch, "binary_cross_entropy_with_logits", smoothed)
    plain, _ = torch_value_and_gradient(torch, "binary_cross_entropy_with_logits", labels)
    smoothed_loss = partial(binary_cross_entropy, smoothing=smoothing)
    rows, delta = evaluate(backend, smoothed_loss, Z, labels)
    losses, _, _ = smoothed_loss(backend.asarray(Z), backend.asarray(labels), xp=backend.xp)
    np.testing.assert_allclose(rows, expected, rtol=1e-13)
    np.testing.assert_allclose(delta, gradient, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(backend.to_numpy(losses), plain, rtol=1e-13)


def test_binary_cross_entropy_of_one_output_equals_cross_entropy_of_two_classes(backend):
    y = np.array([0, 1, 1, 0, 1])
    two = np.stack([np.zeros(5), Z[:, 0]], axis=-1)
    expected, gradient = evaluate(backend, cross_entropy, two, np.eye(2)[y])
    rows, delta = evaluate(backend, binary_cross_entropy, Z[:, :1], y[:, None].astype(float))
    np.testing.assert_allclose(rows, expected, rtol=1e-13)
    np.testing.assert_allclose(delta[:, 0], gradient[:, 1], rtol=1e-13, atol=1e-16)


def test_binary_cross_entropy_far_out_is_linear_in_float32(backend_of):
    backend = backend_of("float32")
    z = np.array([[2e4], [-2e4], [2e4], [-2e4], [-50.0]], "f4")
    rows, delta = evaluate(backend, binary_cross_entropy, z, np.array([[1], [0], [0], [1], [0]], "f4"))
    np.testing.assert_allclose(rows, [0, 0, 2e4, 2e4, np.exp(-50.0)], rtol=1e-6)
    np.testing.assert_allclose(delta[:, 0], [0, 0, 1, -1, np.exp(-50.0)], rtol=1e-6)


@pytest.mark.parametrize("name", ["mae", "huber"])
def test_robust_loss_far_out_has_a_bounded_gradient_in_float32(backend_of, name):
    backend = backend_of("float32")
    z, target = np.array([[1e38], [-1e38]], "f4"), np.zeros((2, 1), "f4")
    rows, delta = evaluate(backend, LOSSES[name].function, z, target)
    np.testing.assert_allclose(rows, [1e38, 1e38], rtol=1e-6)
    assert delta[:, 0].tolist() == [1.0, -1.0]


@pytest.mark.parametrize("loud", [1e4, 1e30, 1e300])
def test_cross_entropy_huge_row_does_not_change_other_rows(backend, loud):
    disturbed = np.concatenate([Z, loud * np.array([[1.0, -1.0, 0.5, 0.0]])])
    target = np.concatenate([ONE_HOT, [[0.0, 1.0, 0.0, 0.0]]])
    quiet_rows, quiet_delta = evaluate(backend, cross_entropy, Z, ONE_HOT)
    rows, delta = evaluate(backend, cross_entropy, disturbed, target)
    # XLA chooses its vector width by the shape, so JAX may differ in the last digit
    np.testing.assert_allclose(rows[:5], quiet_rows, rtol=1e-15)
    np.testing.assert_allclose(delta[:5], quiet_delta, rtol=1e-13, atol=1e-17)
    assert rows[5] == 2 * loud
    assert delta[5].tolist() == [1.0, -1.0, 0.0, 0.0]


def test_cross_entropy_certain_correct_prediction_in_float32_is_zero(backend_of):
    backend = backend_of("float32")
    rows, delta = evaluate(backend, cross_entropy, np.array([[2e4, 0, -2e4]], "f4"), np.array([[1, 0, 0]], "f4"))
    assert rows.tolist() == [0.0]
    assert delta.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_leading_axis_is_a_stack_of_networks(backend, name):
    loss = LOSSES[name].function
    z, target = rng.normal(size=(2, 2, 4)), ONE_HOT[:2]
    rows, delta = evaluate(backend, loss, z, target)
    for m in range(2):
        one_rows, one_delta = evaluate(backend, loss, z[m], target)
        np.testing.assert_allclose(rows[m], one_rows, rtol=1e-15)
        np.testing.assert_allclose(delta[m], one_delta, rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize(("integer", "count"), [("uint8", 4), ("uint8", 256), ("int32", 300)])
def test_one_hot_marks_only_the_class(backend, integer, count):
    y = np.array([count - 1, 0, 1], integer)
    classes = backend.asarray(np.arange(count, dtype=integer))
    found = backend.to_numpy(one_hot(backend.asarray(y), classes, backend.asarray(Z).dtype, xp=backend.xp))
    assert np.array_equal(found, np.eye(count)[y])
