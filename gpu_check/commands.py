"""The stage of the commands: training twice, killed and resumed, and what the CPU makes of the checkpoint."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gpu_check.processes import Finished
from gpu_check.record import StageResult
from gpu_check.stage import DEFAULT_BACKENDS, Context, read_json

PAPER_EPOCHS = 3
KILLED_AFTER_EPOCHS = 3  # of the ten of the default recipe
CHECKPOINT_STEPS = 200  # so that the killed run resumes within an epoch
IMAGES = "data/mnist/t10k-images-idx3-ubyte.gz"
N_IMAGES = 10_000
# The GPU and the CPU round differently, so a row in ten thousand may change its class
MAX_ACCURACY_DIFFERENCE = 0.001
MAX_RELATIVE_LOSS_DIFFERENCE = 1e-4
# XLA measures which algorithm is the fastest, so that two processes may choose different ones; this forbids it
DETERMINISTIC_XLA = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # for the commands that must work on a machine without one
CHECKPOINT = "last.safetensors"


class Runs:
    """Runs of train.py in a temporary folder, started with the device of the check.

    They name no backend, as most users do, unless the default of the device does not compute.
    """

    def __init__(self, context: Context, deadline: float, result: StageResult) -> None:
        self.context = context
        self.deadline = deadline
        self.result = result
        self.folder = context.work / "runs"
        first = context.backends[0]
        self.backend = None if first == DEFAULT_BACKENDS[context.device] else first

    def command(self, *arguments: str, **options: Any) -> dict[str, Any] | None:
        """Run a command; return the JSON object that it printed, or None after a failure, which is a fault."""
        finished = self.context.runner.python(*arguments, "--json", deadline=self.deadline, **options)
        found = read_json(finished, self.result)
        return found if finished.exit == 0 else None

    def train(
        self, name: str, *flags: str, backend: str | None = None, device: str | None = None, **environment: str
    ) -> None:
        """Train a run; keep its seconds and losses as measured."""
        found = self.command(*self.arguments(backend, device), "--name", name, *flags, **environment)
        if found is not None:
            wanted = ("backend", "device", "epochs", "seconds", "train_loss", "test_loss", "test_accuracy")
            self.result.measured[name] = {key: found[key] for key in wanted}

    def arguments(self, backend: str | None = None, device: str | None = None) -> tuple[str, ...]:
        """Return the command line of train.py without the name of the run."""
        chosen = backend or self.backend
        return (
            "train.py", "--quiet", "--no-plots", "--device", device or self.context.device,
            *(("--backend", chosen) if chosen else ()), "-o", str(self.folder),
        )  # fmt: skip

    def train_killed(self, name: str, *flags: str) -> None:
        """Train a run, kill it when its newest checkpoint is one within an epoch, and resume it."""
        metrics, checkpoint = self.folder / name / "metrics.csv", self.folder / name / CHECKPOINT

        def far_enough() -> bool:
            if not metrics.exists() or metrics.read_bytes().count(b"\n") <= KILLED_AFTER_EPOCHS:
                return False
            return b'"totals.' in checkpoint.read_bytes()  # the sums of an epoch that has not ended

        killed: Finished = self.context.runner.python(
            *self.arguments(), "--name", name, *flags, deadline=self.deadline, kill_when=far_enough
        )
        if killed.exit != -9:
            self.result.faults.append(f"{killed.command}: was not killed in the middle, {killed.reason()}")
            return
        rows = metrics.read_bytes().count(b"\n") - 1
        found = self.command(*self.arguments(), "--resume", name)
        if found is not None:
            self.result.measured[name] = {"killed after epochs": rows, "epochs": found["epochs"]}

    def compare(self, what: str, *names: str) -> None:
        """Note whether the checkpoints of runs are equal byte for byte; a difference is a fault."""
        paths = [self.folder / name / CHECKPOINT for name in names]
        missing = [name for name in names if name not in self.result.measured]
        if missing:
            self.result.faults.append(f"{what}: not compared, for want of {', '.join(missing)}")
            return
        equal = len({path.read_bytes() for path in paths}) == 1
        self.result.measured[what] = equal
        self.result.notes.append(f"{what}: {'equal' if equal else 'DIFFERENT'} bytes")
        if not equal:
            self.result.faults.append(f"{what}: {' and '.join(names)} do not end with the same bytes")

    def use_on_the_cpu(self, name: str) -> None:
        """Evaluate, predict with and export a run without a GPU; compare its test loss with that of the device."""
        trained = self.result.measured.get(name)
        if trained is None:
            self.result.faults.append(f"on the CPU: not tried, for want of {name}")
            return
        run, place = str(self.folder / name), self.context.work / f"{name}.npz"
        jobs: list[Callable[[], dict[str, Any] | None]] = [
            partial(self.command, "evaluate.py", run, "--device", "cpu", **NO_GPU),
            partial(self.command, "predict.py", run, IMAGES, **NO_GPU),
            partial(self.command, "export.py", run, "--format", "npz", "-o", str(place), **NO_GPU),
        ]
        evaluated, predicted, exported = self.context.runner.together(jobs)
        if evaluated is not None:
            loss, accuracy = evaluated["test_loss"], evaluated["test_accuracy"]
            self.result.measured["on the CPU"] = {"test_loss": loss, "test_accuracy": accuracy}
            close = abs(loss - trained["test_loss"]) <= MAX_RELATIVE_LOSS_DIFFERENCE * trained["test_loss"]
            if not close or abs(accuracy - trained["test_accuracy"]) > MAX_ACCURACY_DIFFERENCE:
                self.result.faults.append(
                    f"evaluate.py on the CPU finds loss {loss} and accuracy {accuracy}, "
                    f"the run {trained['test_loss']} and {trained['test_accuracy']}"
                )
        if predicted is not None and len(predicted["predictions"]) != N_IMAGES:
            self.result.faults.append(f"predict.py: {len(predicted['predictions'])} predictions of {N_IMAGES} images")
        if exported is not None and not Path(place).exists():
            self.result.faults.append(f"export.py: there is no {place.name}")
        if None not in (evaluated, predicted, exported):
            self.result.notes.append("on the CPU: evaluated, predicted, exported")


def check_commands(context: Context, deadline: float, result: StageResult) -> None:
    """Run the commands, several at a time, the most important first; then compare what they left."""
    runs = Runs(context, deadline, result)
    first, others = context.backends[0], context.backends[1:]
    untrained = [f"initial-{name}" for name in context.backends]

    def train_and_use() -> None:
        runs.train("default")
        runs.use_on_the_cpu("default")

    jobs: list[Callable[[], None]] = [
        train_and_use,
        partial(runs.train, "default-again"),
        partial(runs.train_killed, "resumed", "--checkpoint-every", str(CHECKPOINT_STEPS)),
        *(
            partial(runs.train, name, "--recipe", "paper", "-e", str(PAPER_EPOCHS))
            for name in ("paper", "paper-again")
        ),
        partial(runs.train, "initial", "-e", "0", backend="numpy", device="cpu"),
        *(
            partial(runs.train, f"initial-{name}", "-e", "0", backend=name)
            for name in context.backends
        ),
        *(
            partial(runs.train, run, "-e", "1", backend=name)
            for name in others
            for run in (name, f"{name}-again")
        ),
    ]  # fmt: skip
    deterministic: list[str] = []
    if context.device == "cuda" and "jax" in context.backends:
        deterministic = ["jax-deterministic", "jax-deterministic-again"]
    jobs += [partial(runs.train, run, "-e", "1", backend="jax", **DETERMINISTIC_XLA) for run in deterministic]
    try:
        context.runner.together(jobs, at_once=max(2, context.cores // 2))
    finally:  # also after Ctrl-C
        runs.compare(f"default twice ({first})", "default", "default-again")
        runs.compare("killed and resumed", "default", "resumed")
        runs.compare("paper twice", "paper", "paper-again")
        runs.compare("initial weights of NumPy and the others", "initial", *untrained)
        for name in others:
            runs.compare(f"{name} twice", name, f"{name}-again")
        if deterministic:
            runs.compare("jax twice with deterministic operations", *deterministic)
