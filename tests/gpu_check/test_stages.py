"""The stages card, compare, speed and costs on commands that are not run, and the stage of commands for real."""

import json
import time

import pytest

from gpu_check import stages
from gpu_check.commands import Runs, check_commands
from gpu_check.processes import Finished, Runner
from gpu_check.record import StageResult
from gpu_check.stage import Context
from gpu_check.stages import NoDeviceError, check_card, check_comparison, check_costs, check_speed


class FakeRunner:
    """Answers commands by a word in them: (exit code, stdout)."""

    def __init__(self, **answers):
        self.answers = answers
        self.commands = []

    def run(self, arguments, *, deadline, **options):
        command = " ".join(arguments)
        self.commands.append(command)
        code, output = next(answer for word, answer in self.answers.items() if word in command)
        return Finished(command, code, 1.0, False, output, "")

    def python(self, *arguments, deadline, **options):
        return self.run(arguments, deadline=deadline)

    def together(self, jobs, at_once=None):
        return [job() for job in jobs]


def run(stage, tmp_path, runner, device="cuda"):
    result = StageResult("stage", limit=40.0)
    context = Context(device, ["cupy", "torch", "jax"], runner, tmp_path, tmp_path, 2)
    stage(context, time.monotonic() + 100, result)
    return context, result


CARD = (0, "NVIDIA H100, GPU-1, 580.1, 80000 MiB, 1 MiB, 9.0, Default\n")
COMPUTES = (0, json.dumps({"device": "cuda:0", "versions": {}}))
CANNOT = (0, json.dumps({"reason": "no CUDA here. To fix it: install it."}))


def card_runner(cupy=COMPUTES, torch=COMPUTES, jax=COMPUTES, smi=CARD, show_config=(0, "")):
    """Return a runner whose probes answer so."""
    probes = {"probe cuda cupy": cupy, "probe cuda torch": torch, "probe cuda jax": jax}
    return FakeRunner(**probes, backends=(0, ""), smi=smi, show_config=show_config)


def test_check_card_keeps_the_backends_that_compute(tmp_path):
    context, result = run(check_card, tmp_path, card_runner(torch=CANNOT))
    assert context.backends == ["cupy", "jax"]
    assert result.faults == []
    assert result.measured["cards"][0]["compute_cap"] == "9.0"
    assert result.notes == [
        "NVIDIA H100, driver 580.1",
        "torch is not checked: no CUDA here",
        "cupy, jax can compute on cuda",
    ]


def test_check_card_without_cupy_is_a_fault_where_another_backend_computes(tmp_path):
    context, result = run(check_card, tmp_path, card_runner(cupy=CANNOT, show_config=(1, "")))
    assert context.backends == ["torch", "jax"]
    assert result.faults[0] == "CuPy, the default of --device cuda: no CUDA here. To fix it: install it."
    assert len(result.faults) == 2


@pytest.mark.parametrize("smi", [(127, ""), (9, "NVIDIA-SMI has failed"), (0, "")])
def test_check_card_no_backend_computes_and_no_card_raises(tmp_path, smi):
    with pytest.raises(NoDeviceError, match=r"^no CUDA here\. To fix it: install it\.$"):
        run(check_card, tmp_path, card_runner(CANNOT, CANNOT, CANNOT, smi, (1, "")))


def test_check_card_no_backend_computes_and_the_card_is_hidden_raises(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NoDeviceError):
        run(check_card, tmp_path, card_runner(CANNOT, CANNOT, CANNOT))


def test_check_card_no_backend_computes_on_a_card_leaves_all_to_the_later_stages(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    context, result = run(check_card, tmp_path, card_runner(CANNOT, CANNOT, CANNOT))
    assert context.backends == ["cupy", "torch", "jax"]
    assert result.faults == [f"{name}: no CUDA here. To fix it: install it." for name in context.backends]


def test_check_card_probe_that_dies_leaves_its_backend_to_the_later_stages(tmp_path):
    context, result = run(check_card, tmp_path, card_runner(cupy=(-11, ""), torch=CANNOT))
    assert context.backends == ["cupy", "jax"]
    assert "probe cuda cupy: exit code -11" in result.faults[0]
    assert result.notes[-1] == "jax can compute on cuda"


def test_check_card_without_nvidia_smi_is_a_fault_where_a_backend_computes(tmp_path):
    context, result = run(check_card, tmp_path, card_runner(smi=(127, "")))
    assert context.backends == ["cupy", "torch", "jax"]
    assert len(result.faults) == 1


def compared(passed, relative):
    difference = {"backend": "cupy", "tensor": "loss", "relative": relative, "bound": 1e-6, "passed": passed}
    return json.dumps({"passed": passed, "differences": [difference]})


@pytest.mark.parametrize(
    ("code", "output", "faults"),
    [
        (0, compared(True, 5e-7), 0),
        (1, compared(False, 5e-6), 12),
        (4, "", 6),
        (0, "no JSON", 6),
    ],
)
def test_check_comparison_bound_that_does_not_hold_is_a_fault(tmp_path, code, output, faults):
    _, result = run(check_comparison, tmp_path, FakeRunner(compare=(code, output)))
    assert len(result.faults) == faults
    if code == 0 and not faults:
        assert result.notes[0] == "float32: 3 of 3 bounds hold, nearest cupy loss at 0.5 of its bound"


def test_check_comparison_backend_that_dies_does_not_cost_the_others(tmp_path):
    answers = {"backends jax": (-11, ""), "compare": (0, compared(True, 5e-7))}
    _, result = run(check_comparison, tmp_path, FakeRunner(**answers))
    assert len(result.faults) == 2
    assert sorted(result.measured) == ["cupy float32", "cupy float64", "torch float32", "torch float64"]


@pytest.mark.parametrize(
    ("stage", "command"), [(check_speed, "-m benchmarks --device cuda"), (check_costs, "-m benchmarks.cuda_costs")]
)
def test_measurement_gets_its_seconds_and_its_files_are_named(tmp_path, capsys, stage, command):
    class Writing(FakeRunner):
        def python(self, *arguments, deadline, **options):
            (tmp_path / "new.json").write_text("{}")
            return super().python(*arguments, deadline=deadline)

    (tmp_path / "old.json").write_text("{}")
    runner = Writing(benchmarks=(0, "a table\n"))
    _, result = run(stage, tmp_path, runner)
    assert runner.commands == [f"{command} --seconds 32 --output {tmp_path}"]
    assert (result.faults, result.measured) == ([], {"files": ["new.json"]})
    assert capsys.readouterr().out == "a table\n"


def test_check_costs_on_the_cpu_is_skipped(tmp_path):
    _, result = run(stages.check_costs, tmp_path, FakeRunner(), device="cpu")
    assert (result.status, result.notes) == ("skipped", ["needs a CUDA device"])


@pytest.fixture
def runs(tmp_path):
    runs = Runs(Context("cpu", ["numpy"], FakeRunner(), tmp_path, tmp_path, 2), 0.0, StageResult("commands"))
    for name, content in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        (runs.folder / name).mkdir(parents=True)
        (runs.folder / name / "last.safetensors").write_bytes(content)
        runs.result.measured[name] = {}
    return runs


@pytest.mark.parametrize(
    ("device", "first", "flags"),
    [("cuda", "cupy", []), ("cpu", "numpy", []), ("cuda", "torch", ["--backend", "torch"])],
)
def test_runs_name_the_backend_where_the_default_of_the_device_does_not_compute(tmp_path, device, first, flags):
    runs = Runs(Context(device, [first], FakeRunner(), tmp_path, tmp_path, 2), 0.0, StageResult("commands"))
    arguments = runs.arguments()
    assert [word for word in arguments if word in ("--backend", first)] == flags
    assert "jax" in runs.arguments("jax")


def test_check_commands_jax_on_a_gpu_also_runs_with_deterministic_operations(tmp_path):
    class Environments(FakeRunner):
        def python(self, *arguments, deadline, **environment):
            if "XLA_FLAGS" in environment:
                self.commands.append(arguments)
            return Finished("", 4, 1.0, False, "", "")

    runner = Environments()
    context = Context("cuda", ["cupy", "jax"], runner, tmp_path, tmp_path, 2)
    check_commands(context, time.monotonic() + 10, StageResult("commands"))
    assert [arguments[arguments.index("--name") + 1] for arguments in runner.commands] == [
        "jax-deterministic", "jax-deterministic-again",
    ]  # fmt: skip


def test_compare_equal_checkpoints_are_noted(runs):
    runs.compare("twice", "one", "same")
    assert (runs.result.faults, runs.result.notes) == ([], ["twice: equal bytes"])


def test_compare_different_checkpoints_are_a_fault(runs):
    runs.compare("twice", "one", "same", "other")
    assert runs.result.faults == ["twice: one and same and other do not end with the same bytes"]


def test_compare_run_that_failed_is_a_fault(runs):
    runs.compare("twice", "one", "absent")
    assert runs.result.faults == ["twice: not compared, for want of absent"]


@pytest.mark.slow
def test_check_commands_on_numpy_pass(tmp_path):
    result = StageResult("commands")
    context = Context("cpu", ["numpy"], Runner({}), tmp_path, tmp_path, 2)
    check_commands(context, time.monotonic() + 200, result)
    assert result.faults == []
    assert result.measured["resumed"]["epochs"] == 10
    assert result.notes == [
        "on the CPU: evaluated, predicted, exported",
        "default twice (numpy): equal bytes",
        "killed and resumed: equal bytes",
        "paper twice: equal bytes",
        "initial weights of NumPy and the others: equal bytes",
    ]
    assert any(finished.exit == -9 for finished in context.runner.finished)
