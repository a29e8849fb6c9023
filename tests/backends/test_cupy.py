"""Tests of the CuPy backend without a GPU: its probe, its calls on a fake module, and the names that the step uses."""

import contextlib
import inspect
import sys
import types
from functools import partial

import array_api_compat
import array_api_compat.numpy as numpy_namespace
import numpy as np
import pytest

from lagvis.backends import cuda, cupy_backend
from lagvis.backends.replay.self_test import run_steps
from lagvis.errors import DeviceError
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES, cross_entropy
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS, sgd
from lagvis.network.step import evaluated_layers, make_evaluation, make_step
from lagvis.training.factory import first_state, make_optimizer, make_training_step, step_constants, step_scalars
from lagvis.training.recipe import Recipe, load, shipped
from lagvis.tree import tree_map
from tests.conftest import skip_or_fail
from tests.fake_backends import CupyFunctions, CupyStandInBackend, ZeroAxesRecorder, cupy_namespace
from tests.fake_cuda import GTX_1080, H100, FakeDriver, install_cupy, install_driver
from tests.network.problems import data_of, loss_for, problem
from tests.network.test_step import host_state


@pytest.mark.parametrize(
    ("answers", "ordinal", "reason", "fix"),
    [
        ({"driver": 0}, 0, "no NVIDIA driver was found", "580 or newer"),
        ({"driver": 12040}, 0, "supports CUDA 12.4, the installed CuPy needs CUDA 13", "cuda12"),
        ({"count": RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")}, 0, "NoDevice", "nvidia-smi"),
        ({"count": 0}, 0, "sees 0 CUDA devices, so there is no cuda:0", "nvidia-smi"),
        ({"count": 2}, 9, "sees 2 CUDA devices, so there is no cuda:9", "--device cuda:1"),
        ({"nvrtc": RuntimeError('Failure finding "libnvrtc.so.13"')}, 0, "no CUDA compiler", "cuda13"),
        ({"runtime": 12090, "nvrtc": RuntimeError("gone")}, 0, "no CUDA compiler", "cuda12"),
        ({"cublas": False}, 0, "no cuBLAS", "cuda13"),
    ],
)
def test_probe_missing_part_raises_reason_and_fix(monkeypatch, answers, ordinal, reason, fix):
    with pytest.raises(DeviceError) as caught:
        cupy_backend.probe(install_cupy(monkeypatch, **answers), ordinal)
    assert reason in caught.value.reason
    assert fix in caught.value.remedy


def test_probe_complete_installation_returns(monkeypatch):
    assert cupy_backend.probe(install_cupy(monkeypatch), 0) is None


@pytest.mark.parametrize("value", ["-1", "", "7"])
def test_probe_hidden_devices_names_the_variable(monkeypatch, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    install_driver(monkeypatch, FakeDriver())
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES") as caught:
        cupy_backend.probe(install_cupy(monkeypatch, count=RuntimeError("cudaErrorNoDevice")), 0)
    assert repr(value) in caught.value.reason


NO_DRIVER = (
    "CuPy is installed, but no NVIDIA driver was found. To fix it: install NVIDIA driver 580 or newer, or use "
    "--device cpu."
)


def find_spec(*installed):
    """Return a function like importlib's, for which these packages alone are installed."""
    return lambda name: types.SimpleNamespace(name=name) if name in installed else None


def test_find_devices_without_a_driver_gives_the_reason_of_the_probe_without_importing_cupy(monkeypatch):
    install_driver(monkeypatch, None)
    with pytest.raises(DeviceError) as of_probe:
        cupy_backend.probe(install_cupy(monkeypatch, driver=0), 0)
    monkeypatch.setattr(cupy_backend, "find_spec", find_spec("cupy"))
    monkeypatch.setattr(cupy_backend, "import_cupy", lambda: pytest.fail("CuPy was imported"))
    with pytest.raises(DeviceError) as caught:
        cupy_backend.find_devices()
    assert str(caught.value) == str(of_probe.value) == NO_DRIVER


@pytest.mark.parametrize(
    ("driver", "installed", "amd"),
    [
        (FakeDriver(H100), ["cupy"], False),
        (FakeDriver(status=34), ["cupy"], False),  # a library that answers with an error
        (None, [], False),
        (None, ["cupy"], True),
    ],
    ids=["driver", "broken driver", "no CuPy", "AMD"],
)
def test_find_devices_elsewhere_imports_cupy(monkeypatch, tmp_path, driver, installed, amd):
    install_driver(monkeypatch, driver)
    install_cupy(monkeypatch, count=2)
    monkeypatch.setattr(cupy_backend, "find_spec", find_spec(*installed))
    monkeypatch.setattr(cupy_backend, "AMD_DRIVER", str(tmp_path if amd else tmp_path / "none"))
    assert cupy_backend.find_devices() == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("driver", "card", "reason", "extra"),
    [
        (None, None, "no NVIDIA driver was found either", "cuda13"),
        (12080, H100, "CuPy is not installed", "cuda12"),
        (13010, H100, "CuPy is not installed", "cuda13"),
        (13010, GTX_1080, "CuPy is not installed", "cuda12"),
    ],
)
def test_import_cupy_missing_proposes_extra_for_driver_and_card(monkeypatch, driver, card, reason, extra):
    monkeypatch.setitem(sys.modules, "cupy", None)
    install_driver(monkeypatch, driver and FakeDriver(card, version=driver))
    monkeypatch.setattr("builtins.__import__", hide("cupy"))
    with pytest.raises(DeviceError, match=reason) as caught:
        cupy_backend.import_cupy()
    assert f'pip install -e ".[{extra}]"' in caught.value.remedy


def hide(hidden):
    """Return an import function that does not find one package."""
    real = __import__

    def importing(name, *args):
        if name == hidden:
            raise ModuleNotFoundError(f"No module named {hidden!r}", name=hidden)
        return real(name, *args)

    return importing


def test_import_cupy_broken_is_not_called_missing(monkeypatch):
    def broken(name, *args, real=__import__):
        if name == "cupy":
            raise ImportError("libcudart.so.13: cannot open shared object file\nmore")
        return real(name, *args)

    monkeypatch.setattr("builtins.__import__", broken)
    with pytest.raises(DeviceError, match=r"installed but cannot be imported \(libcudart") as caught:
        cupy_backend.import_cupy()
    assert "more" not in caught.value.reason


def importing(monkeypatch, answer):
    """Make `import cupy` return a module or raise an exception."""

    def importing(name, *args, real=__import__):
        if name != "cupy":
            return real(name, *args)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("builtins.__import__", importing)


@pytest.mark.parametrize(
    "answer",
    [types.ModuleType("cupy"), ImportError("undefined symbol"), OSError(2, "No such file", "/proc/x")],
    ids=repr,
)
def test_import_cupy_two_wheels_names_both_and_one_command(monkeypatch, tmp_path, request, answer):
    cuda.installed_wheels.cache_clear()
    request.addfinalizer(cuda.installed_wheels.cache_clear)
    for name in ("cupy-cuda12x", "cupy-cuda13x"):
        folder = tmp_path / f"{name.replace('-', '_')}-13.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 13.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    install_driver(monkeypatch, FakeDriver(H100, version=12080))
    importing(monkeypatch, answer)
    with pytest.raises(DeviceError, match="over each other, cupy-cuda12x and cupy-cuda13x") as caught:
        cupy_backend.import_cupy()
    assert caught.value.remedy == 'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install -e ".[cuda12]"'


@pytest.mark.parametrize(("value", "folder"), [("/proc/x", "/proc/x"), (None, "/nobody/.cupy/kernel_cache")])
def test_import_cupy_unwritable_cache_names_the_variable(monkeypatch, value, folder):
    monkeypatch.setenv("HOME", "/nobody")
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    if value:
        monkeypatch.setenv("CUPY_CACHE_DIR", value)
    monkeypatch.setattr(cupy_backend, "installed_wheels", lambda: ["cupy-cuda13x"])
    importing(monkeypatch, OSError(30, "Read-only file system", folder))
    with pytest.raises(DeviceError, match="Read-only file system") as caught:
        cupy_backend.import_cupy()
    assert repr(folder) in caught.value.reason
    assert "set CUPY_CACHE_DIR" in caught.value.remedy


class FakeCupy(CupyFunctions):
    """Fake CuPy: computes with NumPy and records the stream of each call; `broken` functions write a wrong result.

    Like CuPy it refuses a stream while another device is current. `precision` lists what its compute types are set to.
    """

    __version__ = "0"

    def __init__(self, broken=()):
        super().__init__(broken)
        self.streams = []
        self.synchronized = []
        self.current = None
        self.device = 0
        self.precision = []
        stand_in = self

        class Stream(contextlib.AbstractContextManager):
            def __init__(self, non_blocking):
                assert non_blocking
                self.device = stand_in.device

            def __enter__(self):
                if self.device != stand_in.device:
                    raise RuntimeError("the device of the stream does not match the current device")
                stand_in.current = self

            def __exit__(self, *error):
                stand_in.current = None

            def synchronize(self):
                stand_in.synchronized.append(self)

        runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 13020)
        self.cuda = types.SimpleNamespace(Stream=Stream, Device=self.use_device, runtime=runtime)
        linalg = types.SimpleNamespace(
            COMPUTE_TYPE_FP32="FP32", set_compute_type=lambda dtype, kind: self.precision.append((dtype, kind))
        )
        self._core = types.SimpleNamespace(_routines_linalg=linalg)

    @contextlib.contextmanager
    def use_device(self, ordinal):
        before, self.device = self.device, ordinal
        yield
        self.device = before

    def __getattr__(self, name):
        self.streams.append(self.current)
        return super().__getattr__(name)

    def array(self, host):
        self.streams.append(self.current)
        return np.array(host)

    def asnumpy(self, array):
        self.streams.append(self.current)
        return np.array(array)


@pytest.mark.parametrize("compiled", [True, False])
def test_cupy_backend_uses_one_stream_of_its_own(monkeypatch, compiled):
    install_driver(monkeypatch, FakeDriver(GTX_1080, H100))
    monkeypatch.setattr(cupy_backend, "CupyRecorder", ZeroAxesRecorder)
    stand_in = FakeCupy()
    backend = cupy_backend.CupyBackend(stand_in, cupy_namespace(), 1, "float64", compiled)
    optimizer = sgd(momentum=0.9)
    params, x, y = problem((4,), "relu", "classes")
    step = make_step(activation=ACTIVATIONS["relu"], loss=cross_entropy, optimizer=optimizer, xp=backend.xp)

    def uses_stream(*arguments):
        stand_in.streams.append(stand_in.current)
        return step(*arguments)

    inputs = (backend.asarray(np.zeros((2, 3), np.int32)), {"learning_rate": backend.asarray(np.full(2, 0.1))})
    data = tree_map(backend.asarray, data_of(x, y))
    state = backend.scan(uses_stream)(tree_map(backend.asarray, host_state(params, optimizer)), inputs, (data,))
    assert tree_map(backend.to_numpy, state)["totals"]["weight"] == 6.0
    assert len(set(stand_in.streams)) == 1
    assert stand_in.streams[0] is not None
    assert backend.device == "cuda:1"
    assert backend.versions()["gpu"] == H100.name
    backend.synchronize()
    assert stand_in.synchronized == stand_in.streams[:1]


@pytest.fixture
def open_fake_cupy(monkeypatch):
    """Return `open_fake_cupy(broken, compiled=True)`, which opens the CuPy backend on NumPy's functions."""

    def open_fake(broken=(), compiled=True):
        monkeypatch.setattr(cupy_backend, "import_cupy", lambda: FakeCupy(broken))
        monkeypatch.setattr(cupy_backend, "probe", lambda cupy, ordinal: None)
        monkeypatch.setattr(cupy_backend, "CupyRecorder", ZeroAxesRecorder)
        namespace = cupy_namespace()
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", namespace)
        monkeypatch.setattr(array_api_compat, "cupy", namespace, raising=False)  # set once the real one was imported
        return cupy_backend.open_backend("cuda:0", "float32", compiled)

    return open_fake


def test_open_backend_recorded_steps_equal_plain_loop_are_used(open_fake_cupy):
    backend = open_fake_cupy()
    assert backend.compiled
    assert not backend.notices


def test_open_backend_sets_full_precision(open_fake_cupy):
    assert open_fake_cupy()._cupy.precision == [("float32", "FP32")]


def test_open_backend_no_compile_stays_in_the_plain_loop(open_fake_cupy):
    backend = open_fake_cupy(broken=["multiply"], compiled=False)
    assert not backend.compiled
    assert not backend.notices


@pytest.mark.parametrize(
    "broken",
    [
        "add", "matmul", "sum", "max", "take", "argmax", "greater",
        "concatenate", "bitwise_and", "bitwise_xor", "right_shift", "greater_equal",
    ],
)  # fmt: skip
def test_open_backend_recorded_steps_differ_falls_back_with_a_notice(open_fake_cupy, broken):
    backend = open_fake_cupy(broken=[broken])
    assert not backend.compiled
    (notice,) = backend.notices
    assert notice.startswith("cupy on cuda:0 runs every step call by call: its self-test of recorded steps differs")
    assert run_steps(backend)["W"].shape == (48, 32)


def test_open_backend_recorded_steps_raise_falls_back_with_the_error(open_fake_cupy, monkeypatch):
    def no_out(*arguments, **options):
        raise TypeError("exp() got an unexpected keyword argument 'out'\nmore")

    monkeypatch.setattr(FakeCupy, "exp", no_out, raising=False)
    backend = open_fake_cupy()
    assert not backend.compiled
    assert "raised TypeError: exp() got an unexpected keyword argument 'out'." in backend.notices[0]


def test_open_backend_plain_step_fails_raises_device_error(open_fake_cupy, monkeypatch):
    def failing(x):
        raise RuntimeError("the compiler found no headers")

    namespace = cupy_namespace()
    namespace.tanh = failing
    monkeypatch.setattr(sys.modules[__name__], "cupy_namespace", lambda: namespace)
    with pytest.raises(DeviceError, match="it does not compute: the compiler found no headers"):
        open_fake_cupy()


# Everything that a step can do, with each optimizer and each normalisation.
FULL_RECIPES = [
    Recipe(
        **keys, schedule="one-cycle", weight_decay=0.1, l1=0.1, clip_norm=0.1, max_norm=1.0, dtype="float64",
        dropout=0.2, input_dropout=0.2, input_noise=0.1, mixup=0.2, ema=0.9,
    )
    for keys in [*({"optimizer": name} for name in OPTIMIZERS), *({"normalization": name} for name in NORMALIZATIONS)]
]  # fmt: skip


def full_state(recipe, params):
    """Return the state of a run of a recipe before its first step, on the host, with the totals of classes."""
    return {**first_state(recipe, params), "totals": host_state(params, sgd())["totals"]}


def recorded_cupy_calls():
    """Return every call with the memory of its result, in the steps of all recipes and options, as CuPy gets them."""
    backend = CupyStandInBackend("float64")
    optimizer = sgd(momentum=0.9, nesterov=True)
    steps = [(ACTIVATIONS[name], kind, optimizer) for name in ACTIVATIONS for kind in ("classes", "numbers")]
    for name in shipped():
        recipe = load(name)
        kind = "numbers" if recipe.regression else "classes"
        steps.append((ACTIVATIONS[recipe.activation], kind, make_optimizer(recipe)))
    for activation, kind, rule in steps:
        for weighted in (False, True):
            params, x, y = problem((4, 3), "relu", kind)
            data = data_of((x * 50).clip(0, 255).astype(np.uint8), y) | ({"w": np.ones(6)} if weighted else {})
            data = tree_map(backend.asarray, data)
            scalars = {"learning_rate": np.full(2, 0.1)}
            scalars |= rule.scalars(np.arange(1, 3), scalars)
            inputs = (backend.asarray(np.zeros((2, 3), np.int32)), tree_map(backend.asarray, scalars))
            state = host_state(params, rule, kind)
            for smoothing in (0.0, 0.1):
                step = make_step(activation=activation, loss=loss_for(kind, smoothing), optimizer=rule, xp=backend.xp)
                backend.scan(step)(tree_map(backend.asarray, state), inputs, (data,))
            evaluate = make_evaluation(activation=activation, loss=loss_for(kind), xp=backend.xp)
            totals = state["totals"] | ({"predicted": np.zeros(3, np.int32)} if kind == "classes" else {})
            backend.scan(evaluate)(tree_map(backend.asarray, totals), inputs[:1], (params, data))
    for recipe in FULL_RECIPES:
        params, x, y = problem((4, 3), "relu", "classes", normalized=recipe.normalization != "none")
        inputs = [np.zeros((2, 3), np.int32), step_scalars(recipe, np.arange(2), 10)]
        state = tree_map(backend.asarray, full_state(recipe, params))
        data = tree_map(backend.asarray, data_of(x, y) | step_constants(recipe, (4, 4, 3, 3), 3))
        step = make_training_step(recipe, xp=backend.xp)
        backend.scan(step)(state, tuple(tree_map(backend.asarray, inputs)), (data,))
        normalization = NORMALIZATIONS[recipe.normalization]
        evaluate = make_evaluation(
            activation=ACTIVATIONS["relu"], loss=cross_entropy, normalization=normalization, xp=backend.xp
        )
        totals = tree_map(backend.asarray, full_state(recipe, params)["totals"])
        layers = tree_map(backend.asarray, evaluated_layers(full_state(recipe, params)))
        backend.scan(evaluate)(totals, (backend.asarray(inputs[0]),), (layers, data))
    return backend.functions.calls


def test_recorded_calls_with_out_fit_cupy_signatures():
    try:
        import cupy
    except ImportError as error:
        skip_or_fail("cupy-signatures", f"CuPy is not installed, so its signatures cannot be read: {error}")
    calls = [call for call in recorded_cupy_calls() if call[0] != "may_share_memory"]
    assert {"matmul", "take", "sum", "exp", "argmax", "copyto", "greater"} <= {name for name, _, _ in calls}
    for name, positional, named in calls:
        function = getattr(cupy, name)
        if name != "copyto":
            assert isinstance(named["out"], np.ndarray), name
        if isinstance(function, cupy.ufunc):
            assert (len(positional), set(named)) == (function.nin, {"out"}), name
        else:
            inspect.signature(function).bind(*positional, **named)


class RecordingNamespace:
    """Array namespace that records every function call: name, positional arguments, keywords."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.heard = set()

    def __getattr__(self, name):
        member = getattr(self.namespace, name)
        if isinstance(member, type) or not callable(member):
            return member

        def call(*positional, **named):
            self.heard.add((name, len(positional), tuple(sorted(named))))
            return member(*positional, **named)

        return call


def recorded_calls():
    """Return every call made by a step or an evaluation, for all activations, losses and optimizers."""
    xp = RecordingNamespace(numpy_namespace)
    for activation in ACTIVATIONS:
        for kind in ("classes", "numbers"):
            for weighted in (False, True):
                params, x, y = problem((4, 3), activation, kind)
                data = data_of((x * 50).clip(0, 255).astype(np.uint8), y) | ({"w": np.ones(6)} if weighted else {})
                optimizer = sgd(momentum=0.9, nesterov=True)
                step = make_step(activation=ACTIVATIONS[activation], loss=loss_for(kind), optimizer=optimizer, xp=xp)
                indices = np.zeros((3,), np.int32)
                step(host_state(params, optimizer, kind), indices, {"learning_rate": np.array(0.1)}, data)
                loss = cross_entropy if kind == "classes" else LOSSES["mse"].function
                evaluate = make_evaluation(activation=ACTIVATIONS[activation], loss=loss, xp=xp)
                totals = host_state(params, optimizer, kind)["totals"]
                totals |= {"predicted": np.zeros(3, np.int32)} if kind == "classes" else {}
                evaluate(totals, indices, params, data)
    for recipe in FULL_RECIPES:
        params, x, y = problem((4, 3), "relu", "classes", normalized=recipe.normalization != "none")
        scalars = {key: values[0] for key, values in step_scalars(recipe, np.arange(1), 10).items()}
        step = make_training_step(recipe, xp=xp)
        state, data = full_state(recipe, params), data_of(x, y) | step_constants(recipe, (4, 4, 3, 3), 3)
        step(state, np.zeros((3,), np.int32), scalars, data)
        normalization = NORMALIZATIONS[recipe.normalization]
        evaluate = make_evaluation(
            activation=ACTIVATIONS["relu"], loss=cross_entropy, normalization=normalization, xp=xp
        )
        evaluate(state["totals"], np.zeros((3,), np.int32), evaluated_layers(state), data)
    return sorted(xp.heard)


def test_array_functions_of_the_step_fit_cupy_signatures():
    try:
        import array_api_compat.cupy as cupy_namespace
        import cupy
    except ImportError as error:
        skip_or_fail("cupy-signatures", f"CuPy is not installed, so its signatures cannot be read: {error}")
    calls = recorded_calls()
    assert {"take", "matrix_transpose", "exp", "sqrt", "argmax"} <= {name for name, _, _ in calls}
    for name, positional, keywords in calls:
        function = getattr(cupy_namespace, name)
        if isinstance(function, cupy.ufunc):
            assert positional == function.nin, name
            assert not keywords, name
        else:
            inspect.signature(function).bind(*[None] * positional, **dict.fromkeys(keywords))


def test_step_uses_no_function_that_synchronizes_cupy():
    waiting = {"clip", "sign", "take_along_axis", "nonzero", "unique_values", "unique_all", "asarray", "any", "all"}
    assert not waiting & {name for name, _, _ in recorded_calls()}


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_step_takes_no_value_to_the_host(kind):
    """jax.eval_shape computes nothing, so reading a value raises."""
    try:
        import jax
    except ImportError as error:
        skip_or_fail("jax", f"JAX traces this proof: {error}")
    params, x, y = problem((4, 3), "relu", kind)
    optimizer = sgd(momentum=0.9, nesterov=True)
    loss = partial(cross_entropy, smoothing=0.1) if kind == "classes" else LOSSES["mse"].function
    step = make_step(activation=ACTIVATIONS["relu"], loss=loss, optimizer=optimizer, xp=jax.numpy)
    state = host_state(params, optimizer, kind)

    def call(state, inputs, data):
        return jax.lax.scan(lambda carry, i: (step(carry, *i, data), None), state, inputs)[0]

    with jax.enable_x64(True):
        shapes = jax.eval_shape(
            call, state, (np.zeros((5, 3), np.int32), {"learning_rate": np.zeros(5)}), data_of(x, y)
        )
    assert tree_map(lambda a: a.shape, shapes) == tree_map(lambda a: a.shape, state)
