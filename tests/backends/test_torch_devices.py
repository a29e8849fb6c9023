"""GPUs of Apple, Intel and AMD through PyTorch, without one: their tensors are on the CPU, or on no device."""

import json
import types
from pathlib import Path

import numpy as np
import pytest

from lagvis.backends.registry import select
from lagvis.cli import evaluate, train
from lagvis.cli.errors import run_cli
from lagvis.errors import DeviceError
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES, cross_entropy
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import sgd
from lagvis.network.step import evaluated_layers, make_evaluation, make_step
from lagvis.storage.checkpoint_file import read_checkpoint
from lagvis.training.factory import first_state, make_optimizer, make_regularization, step_constants, step_scalars
from lagvis.training.recipe import Recipe
from lagvis.tree import leaves, named_leaves, tree_map
from tests.cli.commands import write_dataset
from tests.conftest import skip_or_fail
from tests.network.problems import data_of, loss_for, problem
from tests.network.test_step import host_state

try:
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    from lagvis.backends import torch_backend
except ImportError as error:
    pytest.skip(f"PyTorch is not installed: {error}", allow_module_level=True)


class OperandDtypes(TorchDispatchMode):
    """Notes the dtype of every tensor that a call of PyTorch takes or returns."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, function, kinds, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = torch.utils._pytree.tree_leaves((arguments, options, result))
        self.dtypes |= {a.dtype for a in tensors if isinstance(a, torch.Tensor)}
        return result


@pytest.fixture
def apple_gpu(monkeypatch):
    """Let PyTorch see a device "mps" whose tensors are on the CPU; return how often it was waited for, as a list."""
    waited = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    monkeypatch.setattr(torch_backend, "torch_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: "Apple M9", raising=False)
    return waited


def pretend(monkeypatch, kind, count=1):
    """Let PyTorch see `count` devices "cuda" or "xpu" whose tensors are on the CPU."""
    module = getattr(torch, kind)
    monkeypatch.setattr(module, "is_available", lambda: count > 0)
    monkeypatch.setattr(module, "device_count", lambda: count)
    monkeypatch.setattr(module, "get_device_name", lambda device: f"a fake {kind}")
    monkeypatch.setattr(torch_backend, "torch_device", lambda name: torch.device("cpu"))


def float32(tree):
    """Return a tree of host arrays with float32 in the place of float64."""
    return tree_map(lambda a: np.asarray(a, np.float32 if np.asarray(a).dtype == np.float64 else None), tree)


def steps():
    """Return every kind of step and evaluation as (name, make, state, inputs, constants), on the host in float32."""
    found = []
    for activation in ACTIVATIONS:
        for kind in ("classes", "numbers"):
            for weighted in (False, True):
                params, x, y = problem((4, 3), activation, kind)
                data = data_of((x * 50).clip(0, 255).astype(np.uint8), y) | ({"w": np.ones(6)} if weighted else {})
                optimizer = sgd(momentum=0.9, nesterov=True)
                state = host_state(params, optimizer, kind)
                indices = np.zeros((2, 3), np.int32)
                functions = {"activation": ACTIVATIONS[activation], "loss": loss_for(kind), "optimizer": optimizer}
                name = f"{activation} {kind}{' weighted' if weighted else ''}"
                found.append(
                    (f"step {name}", make_step, functions, state, [indices, {"learning_rate": np.full(2, 0.1)}], [data])
                )
                evaluation = {
                    "activation": ACTIVATIONS[activation],
                    "loss": cross_entropy if kind == "classes" else LOSSES["mse"].function,
                }
                totals = state["totals"] | ({"predicted": np.zeros(3, np.int32)} if kind == "classes" else {})
                found.append((f"evaluation {name}", make_evaluation, evaluation, totals, [indices], [params, data]))
    for name, normalization in NORMALIZATIONS.items():
        params, x, y = problem((4, 3), "relu", "classes", normalized=normalization is not None)
        recipe = Recipe(normalization=name, ema=0.9, dropout=0.2, input_dropout=0.1, input_noise=0.1, mixup=0.2)
        state = first_state(recipe, params) | {"totals": host_state(params, sgd())["totals"]}
        functions = {
            "activation": ACTIVATIONS["relu"], "loss": cross_entropy, "optimizer": make_optimizer(recipe),
            "normalization": normalization, "regularization": make_regularization(recipe),
        }  # fmt: skip
        inputs = [np.zeros((2, 3), np.int32), step_scalars(recipe, np.arange(2), 10)]
        data = data_of(x, y) | step_constants(recipe, (4, 4, 3, 3), 3)
        found.append((f"step normalization {name}", make_step, functions, state, inputs, [data]))
        evaluation = {key: functions[key] for key in ("activation", "loss", "normalization")}
        constants = [evaluated_layers(state), data_of(x, y)]
        found.append(
            (f"evaluation normalization {name}", make_evaluation, evaluation, state["totals"], inputs[:1], constants)
        )
    return found


STEPS = {name: rest for name, *rest in steps()}


@pytest.mark.parametrize("name", STEPS)
def test_step_on_a_gpu_uses_no_float64_and_reads_no_value(monkeypatch, name):
    """A tensor on "meta" has no numbers: reading one on the host raises."""
    make, functions, *arguments = STEPS[name]
    monkeypatch.setattr(torch_backend, "torch_device", lambda name: torch.device("meta"))
    backend = torch_backend.TorchBackend("mps", "float32", compiled=False)
    mode = OperandDtypes()
    with mode:
        state, inputs, constants = (tree_map(backend.asarray, float32(tree)) for tree in arguments)
        result = backend.scan(make(**functions, xp=backend.xp))(state, inputs, constants)
    assert {str(a.device) for a in leaves(result)} == {"meta"}
    assert tree_map(lambda a: a.dtype, result) == tree_map(lambda a: a.dtype, state)
    assert torch.float32 in mode.dtypes
    assert torch.float64 not in mode.dtypes


class CalledNames(TorchFunctionMode):
    """Notes the name of every function of PyTorch that is called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, kinds, arguments=(), options=None):
        self.names.append(getattr(function, "__name__", str(function)))
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("name", STEPS)
def test_step_copies_no_number_to_the_device_once_it_has_run(name):
    make, functions, *arguments = STEPS[name]
    backend = torch_backend.TorchBackend("cpu", "float32", compiled=False)
    run = backend.scan(make(**functions, xp=backend.xp))
    for _ in range(2):
        state, inputs, constants = (tree_map(backend.asarray, float32(tree)) for tree in arguments)
        with CalledNames() as called:
            run(state, inputs, constants)
    assert "__matmul__" in called.names or "matmul" in called.names
    assert not {"tensor", "asarray", "as_tensor", "scalar_tensor"} & set(called.names)


def test_step_that_reads_a_value_fails_on_the_stand_in(monkeypatch):
    monkeypatch.setattr(torch_backend, "torch_device", lambda name: torch.device("meta"))
    backend = torch_backend.TorchBackend("mps", "float32", compiled=False)
    state, inputs = {"a": backend.asarray(np.ones(3, np.float32))}, (backend.asarray(np.ones(2, np.float32)),)
    with pytest.raises(RuntimeError, match="meta"):
        backend.scan(lambda state, rate: {"a": state["a"] * float(rate)})(state, inputs, ())


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Change into a folder with a small data set; return the options of a run on it."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    return ["--data", "data.npz", "--hidden", "8", "--seed", "3", "--quiet", "--no-plots"]


def trained(name):
    return dict(named_leaves(read_checkpoint(f"runs/{name}/last.safetensors").state))


def test_train_on_mps_has_the_bytes_of_the_cpu_and_moves_between_devices(dataset, apple_gpu, capsys):
    mode = OperandDtypes()
    with mode:
        assert run_cli(train.main, [*dataset, "-e", "2", "--device", "mps", "--name", "mps"]) == 0
    assert torch.float64 not in mode.dtypes
    assert run_cli(train.main, [*dataset, "-e", "2", "--backend", "torch", "--device", "cpu", "--name", "cpu"]) == 0
    record = json.loads(Path("runs/mps/environment.json").read_text())
    assert (record["backend"], record["device"], record["compiled"]) == ("torch", "mps", False)
    assert (record["gpu"], record["float32_products"], record["overrides"]) == ("Apple M9", "full", {})
    for key, array in trained("cpu").items():
        np.testing.assert_array_equal(trained("mps")[key], array)

    assert run_cli(train.main, [*dataset, "-e", "1", "--backend", "torch", "--device", "cpu", "--name", "both"]) == 0
    assert run_cli(train.main, ["--resume", "both", "-e", "2", "--quiet", "--no-plots", "--device", "mps"]) == 0
    resumed = json.loads(Path("runs/both/environment.json").read_text())
    assert (resumed["device"], resumed["resumed"][0]["changed"]["device"]) == ("mps", ["cpu", "mps"])
    capsys.readouterr()
    for flags in (["--device", "mps"], ["--device", "cpu"]):
        assert run_cli(evaluate.main, ["mps", "--json", *flags]) == 0
        assert json.loads(capsys.readouterr().out)["device"] == flags[1]


def test_train_on_mps_counts_the_arrays_of_the_device_as_memory_of_the_host(dataset, apple_gpu, capsys):
    estimates = []
    for device in ("mps", "cpu"):
        assert run_cli(train.main, [*dataset, "--backend", "torch", "--device", device, "--dry-run", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        estimates.append([facts[name] for name in ("host_mb", "host_peak_mb", "device_mb")])
    assert estimates[0] == estimates[1]


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_resume_on_mps_of_a_run_of_another_library_is_torch(dataset, apple_gpu, backend):
    if backend == "jax":
        try:
            import jax  # noqa: F401
        except ImportError as error:
            skip_or_fail("jax", f"JAX is not installed: {error}")
    assert run_cli(train.main, [*dataset, "-e", "1", "--backend", backend, "--device", "cpu", "--name", "r"]) == 0
    assert run_cli(train.main, ["--resume", "r", "-e", "2", "--quiet", "--no-plots", "--device", "mps"]) == 0
    assert json.loads(Path("runs/r/environment.json").read_text())["backend"] == "torch"


def test_auto_with_torch_takes_an_apple_gpu_and_says_so(dataset, apple_gpu, capsys):
    flags = [flag for flag in dataset if flag != "--quiet"]
    assert run_cli(train.main, [*flags, "-e", "0", "--backend", "torch"]) == 0
    assert "--device auto has chosen mps, an Apple GPU: Lagvis was never tried on one." in capsys.readouterr().err
    assert select("mps").notices == []


def test_auto_with_torch_in_float64_leaves_an_apple_gpu(apple_gpu):
    opened = select("auto", "torch", "float64")
    assert opened.device == "cpu"
    assert opened.fallback.startswith("No GPU is used: mps has no float64")


def test_synchronize_waits_for_the_device(monkeypatch, apple_gpu):
    select("mps").synchronize()
    assert apple_gpu == ["mps"]
    for kind in ("cuda", "xpu"):
        pretend(monkeypatch, kind)
        monkeypatch.setattr(getattr(torch, kind), "synchronize", apple_gpu.append)
        select(f"{kind}:0", "torch").synchronize()
    assert apple_gpu[1:] == [torch.device("cpu")] * 2


def test_find_devices_lists_every_kind_fastest_first(monkeypatch, apple_gpu):
    assert torch_backend.find_devices() == ["mps", "cpu"]
    pretend(monkeypatch, "cuda", 2)
    pretend(monkeypatch, "xpu", 1)
    assert torch_backend.find_devices() == ["cuda:0", "cuda:1", "xpu:0", "mps", "cpu"]


@pytest.mark.parametrize(
    ("kind", "version", "expected"),
    [
        ("cuda", {"cuda": "13.0", "hip": None}, {"cuda": "13.0", "gpu": "a fake cuda"}),
        ("cuda", {"cuda": None, "hip": "6.4"}, {"hip": "6.4", "gpu": "a fake cuda"}),
        ("xpu", {"cuda": None, "xpu": "20250101"}, {"xpu": "20250101", "gpu": "a fake xpu"}),
    ],
)
def test_versions_name_toolkit_and_gpu(monkeypatch, kind, version, expected):
    pretend(monkeypatch, kind)
    for name, value in version.items():
        monkeypatch.setattr(torch.version, name, value, raising=False)
    opened = select(kind, "torch")
    assert opened.device == f"{kind}:0"
    assert opened.versions() == {"torch": torch.__version__} | expected


@pytest.mark.parametrize(
    ("device", "version", "reason", "remedy"),
    [
        ("cuda:0", {"cuda": None, "hip": None}, "is built without CUDA", "PyTorch for CUDA (NVIDIA) or ROCm (AMD)"),
        ("cuda:0", {"cuda": "13.0", "hip": None}, "sees 0 CUDA devices, so there is no cuda:0", "the NVIDIA driver"),
        ("cuda:0", {"cuda": None, "hip": "6.4"}, "sees 0 ROCm devices, so there is no cuda:0", "the AMD driver"),
        ("xpu:1", {"xpu": None}, "is built without XPU", "a build of PyTorch for XPU"),
        ("xpu:1", {"xpu": "20250101"}, "sees 0 XPU devices, so there is no xpu:1", "the Intel driver"),
    ],
)
def test_missing_gpu_is_named_by_the_build_of_pytorch(monkeypatch, device, version, reason, remedy):
    for kind in ("cuda", "xpu"):
        pretend(monkeypatch, kind, 0)
    for name, value in version.items():
        monkeypatch.setattr(torch.version, name, value, raising=False)
    with pytest.raises(DeviceError) as caught:
        select(device, "torch")
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("device", "version", "variable"),
    [
        ("cuda:0", {"hip": "6.4"}, "HIP_VISIBLE_DEVICES"),
        ("cuda:0", {"hip": "6.4"}, "CUDA_VISIBLE_DEVICES"),
        ("xpu:0", {"xpu": "20250101"}, "ONEAPI_DEVICE_SELECTOR"),
    ],
)
def test_missing_gpu_names_the_variable_that_hides_it(monkeypatch, device, version, variable):
    pretend(monkeypatch, device[:-2], 0)
    monkeypatch.setenv(variable, "7")
    for name, value in version.items():
        monkeypatch.setattr(torch.version, name, value, raising=False)
    with pytest.raises(DeviceError, match=f"{variable} is set to '7'"):
        select(device, "torch")


@pytest.mark.parametrize(("built", "reason"), [(True, "sees no Apple GPU"), (False, "is built without MPS")])
def test_missing_apple_gpu_is_exit_code_4(monkeypatch, built, reason):
    monkeypatch.setattr(
        torch.backends, "mps", types.SimpleNamespace(is_built=lambda: built, is_available=lambda: False)
    )
    with pytest.raises(DeviceError, match=reason) as caught:
        select("mps")
    assert caught.value.exit_code == 4
    assert "--device cpu" in caught.value.remedy
