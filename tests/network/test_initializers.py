import numpy as np
import pytest

from lagvis.network.activations import ACTIVATIONS
from lagvis.network.initializers import initialize


def draw(widths=(400, 300, 10), activation="relu", seed=0):
    return initialize(widths, ACTIVATIONS[activation].initializer, np.random.default_rng(seed))


def test_he_normal_spread_is_that_of_the_paper_and_biases_are_zero():
    first, last = draw()
    assert first["W"].shape == (400, 300)
    assert last["W"].shape == (300, 10)
    assert abs(first["W"].mean()) < 4 * np.sqrt(2 / 400) / np.sqrt(first["W"].size)
    assert first["W"].std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert last["W"].std() == pytest.approx(np.sqrt(2 / 300), rel=0.06)
    assert not first["b"].any()
    assert first["b"].shape == (300,)


def test_lecun_normal_of_selu_keeps_mean_0_and_variance_1_of_a_deep_network():
    x = np.random.default_rng(1).normal(size=(2000, 200))
    for layer in draw((200,) * 9, activation="selu"):
        x = ACTIVATIONS["selu"].forward(x @ layer["W"], np)
    assert abs(x.mean()) < 0.05
    assert x.var() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity"])
def test_glorot_uniform_fills_its_interval_evenly(activation):
    weights = draw(activation=activation)[0]["W"]
    limit = np.sqrt(6 / 700)
    assert np.abs(weights).max() <= limit
    assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)


def test_glorot_uniform_spread_equals_pytorch(torch):
    ours = draw(activation="tanh")[0]["W"]
    theirs = torch.nn.init.xavier_uniform_(torch.empty(300, 400), generator=torch.Generator().manual_seed(0)).numpy()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)


def test_initialize_seed_0_gives_fixed_numbers():
    assert draw((2, 2), seed=0)[0]["W"].ravel().tolist() == pytest.approx(
        [0.1257302210933933, -0.1321048632913019, 0.6404226504432821, 0.10490011715303971], abs=1e-15
    )


def test_initialize_no_hidden_layer_gives_one_layer():
    assert [layer["W"].shape for layer in draw((784, 10))] == [(784, 10)]
