"""Run the competitors, each in a process of its own, an epoch each in turn, until their ratios are known."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.competitors import COMPETITORS, accuracy_of, compared_pairs, has_method
from benchmarks.machine_load import OtherPrograms, wait_until_idle
from benchmarks.problem import Problem
from benchmarks.ratios import MIN_PAIRS, Ratios, paired_ratios
from lagvis.backends.backend import first_line

# Epochs before the first that counts: libraries compile in the first, and the last, shorter batch is recorded or
# captured when it comes for the second time, which a GPU would notice.
WARM_UP_EPOCHS = {"cpu": 1, "cuda": 2}
# Settings by which the environment makes a library round the operands of products in float32 to TF32.
TF32_VARIABLES = ("CUPY_TF32", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE")
# With a limited time, a competitor has at most this share of the time left for an answer, so that one that hangs leaves
# time for the others; and always this many seconds and last epochs.
MAX_SHARE = 0.5
MIN_ANSWER_SECONDS = 10.0
MAX_LAST_EPOCHS = 3
GRACE_SECONDS = 2.0  # that the last answers may take beyond the time of the whole command
ROUND_MARGIN = 1.2  # a round starts if this many times the last one fits
MAX_FINISH_SECONDS = 10.0
THREADS_TO_EVALUATE = 2
FINISH_SHARE, FINISH_SECONDS = 0.2, 3.0  # of the time of a network, but at most so much, is kept for the accuracies
SECONDS_TO_KILL = 2.0
# A process keeps its place in memory, which makes it 2 to 4 % faster or slower than another one of the same program.
ROUNDS_PER_START = 5
SLOW_TO_START = ("torch.compile",)

Times = dict[str, list[float]]


def product_error(competitor: Any) -> float | None:
    """Return the relative error of a float32 product as the competitor computes it; None if it shows none.

    Full float32 gives less than 1e-6, TF32 about 3e-4.
    """
    if not hasattr(competitor, "product"):
        return None
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 784)).astype(np.float32), rng.normal(size=(784, 64)).astype(np.float32)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    return float(np.linalg.norm(competitor.product(a, b) - expected) / np.linalg.norm(expected))


def shuffled(names: list[str], turn: int) -> list[str]:
    """Return the order of a round. It changes, because a competitor may be slower after one than after another."""
    return [names[i] for i in np.random.default_rng(turn).permutation(len(names))]


def ratios_of(times: Times, reference: str) -> dict[tuple[str, str], Ratios]:
    """Return the ratios of the seconds of `compared_pairs`, round by round."""
    return {(a, b): paired_ratios(times[a], times[b]) for a, b in compared_pairs(list(times), reference)}


@dataclass(frozen=True)
class Failure:
    """Answer of a competitor that cannot go on, and why."""

    reason: str


def serve(name: str, device: str, pipe: Connection) -> None:
    """Serve one competitor until its pipe is closed or it fails.

    The message ("network", name) builds it for a network and answers the error of a product; "epoch" trains and answers
    seconds and loss; "finish" answers the test accuracy. A Failure answers any of them, and is the last answer.
    """
    competitor: Any = None
    problem = Problem("", device)
    epoch, error = 0, None
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):  # the parent has ended
            return
        try:
            if message == "epoch":
                epoch += 1
                batches = problem.batches(epoch)
                started = time.perf_counter()
                loss = competitor.epoch(batches)
                answer: Any = (time.perf_counter() - started, loss)
            elif message == "finish":
                weights = competitor.weights()
                with threadpool_limits(THREADS_TO_EVALUATE):  # all competitors evaluate at the same time
                    answer = None if weights is None else accuracy_of(weights, problem)
            else:
                competitor = None  # frees memory, and sets back the number of threads
                gc.collect()
                epoch = 0
                problem = Problem(message[1], device)
                competitor = COMPETITORS[name][0](problem)
                error = product_error(competitor) if error is None else error
                answer = error
        except Exception as fault:
            answer = Failure(f"{type(fault).__name__}: {first_line(fault)}")
        if not send_answer(pipe, answer):
            return


def send_answer(pipe: Connection, answer: Any) -> bool:
    """Send an answer; return whether the next message can be served: not after a Failure, nor without a parent."""
    try:
        pipe.send(answer)
    except OSError:  # the parent has ended, or no longer waits
        return False
    return not isinstance(answer, Failure)


class NoAnswerError(Exception):
    """The process of a competitor has failed or ended without an answer."""


class HangError(NoAnswerError):
    """The process of a competitor has not answered in time."""


def ask(pipe: Connection, process: BaseProcess, message: Any = None, seconds: float | None = None) -> Any:
    """Send a message, if there is one, and return the answer.

    Raise NoAnswerError if the process has failed or ended, HangError if it does not answer within `seconds`.
    """
    try:
        if message is not None:
            pipe.send(message)
        if not pipe.poll(seconds):
            raise HangError(f"no answer within {seconds:.0f} s")
        answer = pipe.recv()
    except (EOFError, OSError):  # its end of the pipe is closed
        process.join(SECONDS_TO_KILL)
        raise NoAnswerError(f"its process ended with exit code {process.exitcode}") from None
    if isinstance(answer, Failure):
        raise NoAnswerError(answer.reason)
    return answer


class TimeUpError(Exception):
    """The time of the whole command ended before every competitor had trained its epoch."""


class Competition:
    """The processes of competitors on a device, which live for all networks. `with` ends them.

    end   time.monotonic() at which the whole command should end, if its time is limited
    """

    def __init__(self, names: list[str], device: str, end: float | None = None) -> None:
        self.names, self.device, self.end_of_all = names, device, end
        self.network = ""
        self.others = OtherPrograms([])
        self.processes: dict[str, tuple[Connection, BaseProcess]] = {}
        self.running: dict[str, tuple[Connection, BaseProcess]] = {}
        self.left_out: dict[str, str] = {}
        self.hung: dict[str, str] = {}
        self.product_errors: dict[str, float | None] = {}
        self.last_seconds: dict[str, float] = {}
        self.first: dict[str, tuple[float, float | None]] = {}
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else each JAX process reserves most of a GPU
        for variable in TF32_VARIABLES:
            os.environ.pop(variable, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in list(self.processes):
            self.end(name)

    def start(self, name: str) -> None:
        """Start the process of a competitor."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process: BaseProcess = context.Process(target=serve, args=(name, self.device, there), daemon=True)
        process.start()
        there.close()  # else recv() would wait for ever for a process that died
        self.processes[name] = (here, process)
        if process.pid is not None:
            self.others.add(process.pid)

    def end(self, name: str) -> None:
        """End the process of a competitor, also if it hangs."""
        pipe, process = self.processes.pop(name)
        self.running.pop(name, None)
        pipe.close()
        self.others.update()
        process.kill()
        process.join(SECONDS_TO_KILL)

    def leave_out(self, name: str, error: NoAnswerError) -> None:
        """Take a competitor out of this network, or out of all if it hangs."""
        self.left_out[name] = str(error)
        if isinstance(error, HangError):
            self.hung[name] = str(error)
        self.end(name)

    def prepare(self, network: str, seconds: float | None = None) -> None:
        """Build all competitors for a network, at the same time; those not ready within `seconds` are left out."""
        self.network = network
        self.running, self.left_out = {}, dict(self.hung)
        self.build([name for name in self.names if name not in self.hung and has_method(name, network)], seconds)

    def build(self, names: list[str], seconds: float | None = None) -> None:
        """Build some competitors for the network, in their processes or in new ones."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for name in names:
            if name not in self.processes:
                self.start(name)
            with contextlib.suppress(OSError):  # a process that has ended is noticed below
                self.processes[name][0].send(("network", self.network))
        for name in names:
            pipe, process = self.processes[name]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                self.product_errors[name] = ask(pipe, process, seconds=left)
                self.running[name] = (pipe, process)
            except HangError:
                self.leave_out(name, HangError(f"not ready within {seconds:.0f} s"))
            except NoAnswerError as error:
                self.leave_out(name, error)

    def restart(self) -> None:
        """Start the processes anew, and train an epoch that does not count; but for those that start slowly."""
        names = [name for name in self.running if name not in SLOW_TO_START]
        for name in names:
            self.end(name)
        self.build(names)
        self.round(None, names=names)

    def until_the_end(self, seconds: float) -> float:
        """Return seconds, but no more than are left for the whole command and the last answer."""
        if self.end_of_all is None:
            return seconds
        return max(0.0, min(seconds, self.end_of_all + GRACE_SECONDS - time.monotonic()))

    def is_over(self) -> bool:
        """Whether the time of the whole command has ended."""
        return self.end_of_all is not None and time.monotonic() >= self.end_of_all

    def round(
        self, deadline: float | None, turn: int = 0, names: list[str] | None = None
    ) -> dict[str, tuple[float, float | None]]:
        """Train an epoch with one competitor after the other; return seconds and loss of each.

        Raise TimeUpError if the time of the whole command ends before the last has trained.
        """
        answers = {}
        for name in shuffled([name for name in self.running if names is None or name in names], turn):
            if self.is_over():
                raise TimeUpError
            pipe, process = self.running[name]
            limit = None
            if deadline is not None:
                usual = MAX_LAST_EPOCHS * self.last_seconds[name] if name in self.last_seconds else 0.0
                limit = max(MIN_ANSWER_SECONDS, usual, MAX_SHARE * (deadline - time.monotonic()))
                limit = self.until_the_end(limit)
            try:
                answers[name] = ask(pipe, process, "epoch", limit)
                self.last_seconds[name] = answers[name][0]
            except NoAnswerError as error:
                if isinstance(error, HangError) and self.is_over():
                    raise TimeUpError from None
                self.leave_out(name, error)
                continue
            if process.pid is not None:
                wait_until_idle(process.pid)  # else its threads would slow down the next competitor
        return answers

    def warm_up(self, seconds: float | None = None) -> None:
        """Train the epochs that do not count, and keep seconds and loss of the first."""
        deadline = None if seconds is None else time.monotonic() + seconds
        self.last_seconds = {}
        self.first = self.round(deadline)
        for _ in range(WARM_UP_EPOCHS[self.device] - 1):
            self.round(deadline)

    def accuracies(self, seconds: float | None) -> dict[str, float | None]:
        """Return the test accuracy of each competitor that has a network, and that answers within `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for pipe, _ in self.running.values():
            with contextlib.suppress(OSError):  # a process that has ended is noticed below
                pipe.send("finish")
        answers = {}
        for name, (pipe, process) in list(self.running.items()):
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                answers[name] = ask(pipe, process, seconds=left)
            except NoAnswerError as error:
                self.leave_out(name, error)
        return answers

    def measure(
        self, reference: str, rounds: int | None = None, seconds: float | None = None, *, starts: int = 1
    ) -> dict[str, Any]:
        """Return seconds, first losses, last accuracies and errors of products by competitor, and who is left out.

        Call `prepare` and `warm_up` before. Runs so many `rounds`, or without them as many as it takes to know all
        ratios; with `seconds` no more than fit into them, but at least one: else raise TimeUpError. If `starts` is
        above 1, the processes start anew after every ROUNDS_PER_START rounds, at least so often, and accuracies are
        those of the first processes.
        """
        deadline = None if seconds is None else time.monotonic() + seconds - min(FINISH_SECONDS, FINISH_SHARE * seconds)
        self.others = OtherPrograms([process.pid for _, process in self.processes.values() if process.pid is not None])
        fewest = MIN_PAIRS if starts == 1 else starts * ROUNDS_PER_START
        times: Times = {name: [] for name in self.running}
        accuracies: dict[str, float | None] = {}
        round_seconds = 0.0
        for turn in itertools.count() if rounds is None else range(rounds):
            started = time.monotonic()
            if turn > 0 and deadline is not None and started + ROUND_MARGIN * round_seconds > deadline:
                break
            if starts > 1 and turn > 0 and turn % ROUNDS_PER_START == 0:
                accuracies = accuracies or self.accuracies(MAX_FINISH_SECONDS)
                self.restart()
                started = time.monotonic()
            try:
                answers = self.round(deadline, turn)
            except TimeUpError:
                if turn == 0:
                    raise
                break
            for name, (taken, _) in answers.items():
                times[name].append(taken)
            times = {name: taken for name, taken in times.items() if name in self.running}
            round_seconds = time.monotonic() - started
            enough = rounds is None and turn + 1 >= fewest
            if enough and all(ratios.is_known for ratios in ratios_of(times, reference).values()):
                break
        names = list(times)  # the times count, also without an accuracy
        accuracies = accuracies or self.accuracies(None if seconds is None else self.until_the_end(MAX_FINISH_SECONDS))
        ratios = ratios_of(times, reference)
        return {
            "other programs": self.others.cores(),
            "seconds": times,
            "ratios": {f"{a} / {b}": asdict(ratio) for (a, b), ratio in ratios.items()},
            "first": {name: self.first[name][0] for name in names},
            "losses": {name: self.first[name][1] for name in names},
            "accuracies": {name: accuracies.get(name) for name in names},
            "product errors": {name: self.product_errors[name] for name in names},
            "left_out": dict(self.left_out),
        }


def run_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a new process and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
