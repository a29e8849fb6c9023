"""Networks saved by the paper's program: read, evaluate and train them; other content raises an error."""

import json
import pickle
import warnings

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from lagvis.cli.errors import run_cli
from lagvis.cli.evaluate import main as evaluate
from lagvis.cli.train import main as train
from lagvis.errors import CheckpointError
from lagvis.formats.paper import read_paper_network
from lagvis.storage.checkpoint_file import read_checkpoint
from tests.factories import bands


def save(folder, layers):
    """Save layers [(W (n_in, n_out), b (n_out,)), ...] like the paper's program: each array transposed."""
    folder.mkdir()
    for i, (weights, biases) in enumerate(layers, start=1):
        np.save(folder / f"weightlayer{i}.npy", weights.T.astype(np.float64))
        np.save(folder / f"biaslayer{i}.npy", biases.reshape(-1, 1).astype(np.float64))
    return folder


@pytest.fixture
def layers():
    rng = np.random.default_rng(6)
    return [(rng.normal(0, 0.3, (36, 8)), rng.normal(0, 0.1, 8)), (rng.normal(0, 0.3, (8, 4)), np.zeros(4))]


@pytest.fixture
def dataset_file(tmp_path):
    (x, y), (x_test, y_test) = bands(200), bands(60, seed=8)
    np.savez(tmp_path / "small.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return tmp_path / "small.npz"


def test_read_paper_network_values_and_model(tmp_path, layers):
    found = read_paper_network(save(tmp_path / "saved_network", layers))
    for (weights, biases), layer in zip(layers, found.state["params"], strict=True):
        np.testing.assert_array_equal(layer["W"], weights)
        np.testing.assert_array_equal(layer["b"], biases)
    model = found.model
    assert (model.widths, model.activation, model.loss) == ((36, 8, 4), "relu", "cross-entropy")
    assert model.class_names == ("0", "1", "2", "3")
    assert (found.epoch, found.step) == (0, 0)


def test_evaluate_paper_network_equals_scikit_learn(tmp_path, dataset_file, capsys):
    with np.load(dataset_file) as arrays:
        x, y = arrays["x_test"].reshape(-1, 36) / 255.0, arrays["y_test"]
    oracle = MLPClassifier((8,), activation="relu", random_state=0).partial_fit(x, y, classes=range(4))
    save(tmp_path / "saved_network", list(zip(oracle.coefs_, oracle.intercepts_, strict=True)))
    assert (
        run_cli(evaluate, [str(tmp_path / "saved_network"), "--data", str(dataset_file), "--device", "cpu", "--json"])
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["test_accuracy"] == oracle.score(x, y)
    assert 0 < result["test_accuracy"] < 1
    assert result["dtype"] == "float64"


def test_train_init_from_paper_network(tmp_path, layers, dataset_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "saved_network", layers)
    flags = [
        "--data",
        "small.npz",
        "--device",
        "cpu",
        "--quiet",
        "--no-plots",
        "--init-from",
        "saved_network",
        "--lr",
        "0.01",
    ]
    assert run_cli(train, [*flags, "-e", "0", "--name", "zero", "--dtype", "float64"]) == 0
    zero = read_checkpoint(tmp_path / "runs" / "zero" / "last.safetensors")
    np.testing.assert_array_equal(zero.state["params"][0]["W"], layers[0][0])
    np.testing.assert_array_equal(zero.state["params"][1]["b"], layers[1][1])
    assert run_cli(train, [*flags, "-e", "4", "--name", "uninterrupted"]) == 0
    uninterrupted = (tmp_path / "runs" / "uninterrupted" / "last.safetensors").read_bytes()
    # a run interrupted within its first epoch has recorded its initial network
    assert run_cli(train, [*flags, "-e", "0", "--name", "half"]) == 0
    capsys.readouterr()
    assert run_cli(train, ["--resume", "half", "-e", "4", "--quiet", "--no-plots"]) == 0
    assert (tmp_path / "runs" / "half" / "last.safetensors").read_bytes() == uninterrupted
    assert json.loads((tmp_path / "runs" / "uninterrupted" / "report.json").read_text())["network"] == "36-8-4"


def test_train_init_from_run_copies_its_weights(tmp_path, dataset_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", "small.npz", "--device", "cpu", "--quiet", "--no-plots", "--lr", "0.05", "--sched", "constant"]
    assert run_cli(train, [*flags, "-e", "3", "--hidden", "8", "--activation", "tanh", "--name", "a"]) == 0
    assert run_cli(train, [*flags, "-e", "0", "--init-from", "a", "--name", "b"]) == 0
    a, b = (read_checkpoint(tmp_path / "runs" / name / "last.safetensors") for name in "ab")
    assert b.model.activation == "tanh"
    assert b.state["params"][0]["W"].tobytes() == a.state["params"][0]["W"].tobytes()
    assert (a.step > 0, b.step) == (True, 0)


@pytest.mark.parametrize("flag", [("--hidden", "8"), ("--activation", "tanh")])
def test_train_init_from_with_hidden_or_activation_exits_2(tmp_path, layers, dataset_file, capsys, flag):
    folder = save(tmp_path / "saved_network", layers)
    assert run_cli(train, ["--data", str(dataset_file), "--device", "cpu", "--init-from", str(folder), *flag]) == 2
    assert f"leave out {flag[0]}" in capsys.readouterr().err


def test_train_init_from_other_widths_exits_7(tmp_path, layers, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "saved_network", layers)
    (x, y) = bands(100, classes=3)
    np.savez("three.npz", x=x, y=y)
    assert run_cli(train, ["--data", "three.npz", "--device", "cpu", "--quiet", "--init-from", "saved_network"]) == 7
    err = capsys.readouterr().err
    assert "the initial network knows 4 classes (0..3), the data have 3: 3 is missing; train without" in err
    assert not (tmp_path / "runs").exists()


class FailsWhenUnpickled:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def pickled(path):
    np.save(path, np.array([[FailsWhenUnpickled()]], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("name", ["weightlayer1.npy", "weightlayer2.npy", "biaslayer1.npy", "biaslayer2.npy"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(300)),
        lambda path: path.write_bytes(pickle.dumps(FailsWhenUnpickled())),
        lambda path: path.write_bytes(path.read_bytes()[:8] + b"\xff\xff" + path.read_bytes()[10:]),
        lambda path: np.savez(path.open("wb"), a=np.ones(3)),
        lambda path: np.save(path, np.full(np.load(path).shape, np.nan)),
        lambda path: np.save(path, np.ones((3, 3, 3))),
        lambda path: np.save(path, np.ones((5, 7))),
        lambda path: np.save(path, np.array([["a"]])),
        lambda path: np.save(path, np.ones((0, 1))),
        pickled,
    ],
    ids=[
        "missing",
        "empty",
        "cut",
        "random",
        "pickle",
        "header",
        "npz",
        "nan",
        "axes",
        "shape",
        "text",
        "none",
        "objects",
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_read_paper_network_broken_file_raises_checkpoint_error(tmp_path, layers, name, spoil):
    folder = save(tmp_path / "saved_network", layers)
    spoil(folder / name)
    with pytest.raises(CheckpointError) as caught:
        read_paper_network(folder)
    assert str(folder) in str(caught.value)


def test_read_paper_network_header_larger_than_file_raises(tmp_path, layers):
    folder = save(tmp_path / "saved_network", layers)
    path = folder / "weightlayer1.npy"
    content = path.read_bytes().replace(b"(8, 36)", b"(8, 36000000000)")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weightlayer1\.npy cannot be read"):
        read_paper_network(folder)


# --- regression tests of faults found by fuzzing (docs/fuzzing.md)


def npy_with_header(descr: str, shape: str, body: bytes = b"") -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + body


@pytest.mark.parametrize(
    "content",
    [
        npy_with_header("<f8", f"({2**62}, {2**62})"),
        npy_with_header("|S0", f"({2**62},)"),
        npy_with_header("<U0", f"({2**40}, 4)"),
        npy_with_header("|V0", f"({2**40}, 4)"),
        npy_with_header("<f4", "(8, 36)", np.full(288, 0x7F800001, np.uint32).tobytes()),  # signalling NaNs
        npy_with_header("<f8", "'\\e'"),
        b"\x93NUMPY\1\0" + (9001).to_bytes(2, "little") + b"~" * 9000 + b"1",
    ],
    ids=["product", "no bytes", "no characters", "nothing", "signalling", "escape", "signs"],
)
def test_read_paper_network_hostile_header_raises_without_warning(tmp_path, layers, content):
    folder = save(tmp_path / "saved_network", layers)
    (folder / "weightlayer1.npy").write_bytes(content)
    # recorded, because the reader would catch a warning raised as an error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(CheckpointError, match=r"weightlayer1\.npy"):
            read_paper_network(folder)
    assert caught == []


def test_read_paper_network_beyond_float64_raises(tmp_path, layers):
    weights = np.full((8, 36), np.longdouble("1e4000"))
    if not np.isfinite(weights).all():
        pytest.skip("long double is float64 here")
    folder = save(tmp_path / "saved_network", layers)
    np.save(folder / "weightlayer1.npy", weights)
    with pytest.raises(CheckpointError, match="expected a matrix of finite numbers"):
        read_paper_network(folder)
