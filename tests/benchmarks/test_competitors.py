import itertools
import json
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import LOSS_TOLERANCE, MAX_PRODUCT_ERROR, Benchmark, check, main
from benchmarks.competitors import COMPETITORS, accuracy_of, compared_pairs, names_of
from benchmarks.costs import checkpoint_cost, evaluation_speed, measure_epoch, peak_memory, startup_seconds
from benchmarks.machine_load import OtherPrograms, running_seconds, wait_until_idle
from benchmarks.measure import Competition, Failure, HangError, NoAnswerError, TimeUpError, ask, product_error, serve
from benchmarks.problem import LEARNING_RATE, PLAIN, Problem, networks_of
from benchmarks.ratios import MAX_SPREAD, MIN_PAIRS
from benchmarks.tables import costs_tables, summary_table, training_table
from benchmarks.torch_competitors import TorchGraph
from lagvis.training.recipe import Recipe
from tests.conftest import is_installed, skip_or_fail

NETWORK = "784-32-32-10, batch 200"
ON_THE_CPU = [name for name, (_, devices) in COMPETITORS.items() if "cpu" in devices]
# measured on a GPU alone; on the CPU they compute the same
ALSO_ON_THE_CPU = ["lagvis torch, an epoch a call", "lagvis jax, an epoch a call", "PyTorch CUDA graph"]
LIBRARY = {"lagvis torch": "torch", "lagvis jax": "jax", "JAX jit a step": "jax", "JAX jit + scan": "jax"}
SMALL = Recipe(hidden=(8,), batch_size=100, validation=0, epochs=1000, lr=LEARNING_RATE, **PLAIN)


@pytest.fixture(scope="module")
def problem():
    return Problem(NETWORK)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_THE_CPU + ALSO_ON_THE_CPU)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # the defaults of Keras
def test_competitor_one_epoch_gives_the_loss_and_accuracy_of_lagvis(problem, name):
    if name == "torch.compile":
        pytest.skip("it compiles for half a minute, and wants a C++ compiler; python -m benchmarks checks it")
    if name == "Keras 3 on JAX" and not is_installed("keras"):
        pytest.skip("Keras is not installed (extra bench)")
    library = LIBRARY.get(name.partition(",")[0], "torch" if name.startswith("PyTorch") else "numpy")
    try:
        competitor = COMPETITORS[name][0](problem)
    except Exception as error:
        skip_or_fail(library, f"{name} cannot run: {error}")
    reference = COMPETITORS["lagvis numpy"][0](problem)
    loss, expected = competitor.epoch(problem.batches(1)), reference.epoch(problem.batches(1))
    accuracy = accuracy_of(reference.weights(), problem)
    error = product_error(competitor)
    assert error is None or error < MAX_PRODUCT_ERROR
    if loss is not None:
        assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE)
        assert accuracy_of(competitor.weights(), problem) == pytest.approx(accuracy, abs=2e-3)
    elif name == "products alone":
        assert competitor.weights() is None
    else:
        assert accuracy_of(competitor.weights(), problem) == pytest.approx(accuracy, abs=0.05)


def test_problem_batches_hold_each_row_once(problem):
    assert sorted(np.concatenate(problem.batches(3))) == list(range(60_000))


def answer_once(pipe):
    pipe.send(None)


@pytest.mark.parametrize("message", [None, "epoch"])
def test_ask_process_that_ended_raises_with_its_exit_code(message):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=answer_once, args=(there,))
    process.start()
    there.close()
    assert ask(here, process) is None
    process.join()
    with pytest.raises(NoAnswerError, match="ended with exit code 0"):
        ask(here, process, message)


def never_answer(pipe):
    pipe.recv()
    time.sleep(60)


def test_ask_process_that_hangs_raises_after_its_time():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=never_answer, args=(there,), daemon=True)
    process.start()
    with pytest.raises(HangError, match="no answer within 0 s"):
        ask(here, process, "epoch", 0.1)
    process.kill()
    process.join()


class FakeCompetition(Competition):
    """Competitors whose processes are answered by a function of name and message, in this process."""

    def __init__(self, names, device, answer, end=None):
        super().__init__(names, device, end)
        self.answer = answer
        self.started = []

    def start(self, name):
        self.started.append(name)
        self.processes[name] = (FakePipe(name, self.answer), FakeProcess())


class FakePipe:
    def __init__(self, name, answer):
        self.name, self.answer, self.answers = name, answer, []

    def send(self, message):
        self.answers.append(self.answer(self.name, message))

    def poll(self, seconds):
        return self.answers[0] is not HANG

    def recv(self):
        return self.answers.pop(0)

    def close(self):
        pass


class FakeProcess:
    exitcode = None
    pid = None

    def kill(self):
        pass

    def join(self, seconds=None):
        pass


HANG = object()


def answer_of(name, message):
    """Answer like a competitor; each takes a second more than the one before."""
    if message == "epoch":
        return (float(len(name)), 0.5)
    return 0.9 if message == "finish" else 1e-7


def test_competition_counts_rounds_after_the_warm_up_for_every_competitor():
    competition = FakeCompetition(["a", "bb"], "cuda", answer_of)
    competition.prepare("net", 10)
    competition.warm_up(10)
    result = competition.measure("a", 4, 10)
    assert result["seconds"] == {"a": [1.0] * 4, "bb": [2.0] * 4}
    assert result["losses"] == {"a": 0.5, "bb": 0.5}
    assert result["product errors"] == {"a": 1e-7, "bb": 1e-7}
    assert result["left_out"] == {}


def noisy(noise):
    """Return answers whose epochs take 2 s for "bb" and 1 s for the others, times what `noise` says of each call."""

    def answer(name, message):
        return ((2.0 if name == "bb" else 1.0) * noise(), 0.5) if message == "epoch" else answer_of(name, message)

    return answer


def measured(names, answer, **limits):
    competition = FakeCompetition(names, "cpu", answer)
    competition.prepare("net")
    competition.warm_up()
    return competition.measure("a", **limits)


def test_competition_ratios_known_ends_after_the_fewest_rounds():
    assert measured(["a", "bb"], noisy(lambda: 1.0))["seconds"] == {"a": [1.0] * MIN_PAIRS, "bb": [2.0] * MIN_PAIRS}
    assert measured(["a"], noisy(lambda: 1.0))["seconds"] == {"a": [1.0] * MIN_PAIRS}


def test_competition_noisy_times_runs_more_rounds_until_the_ratios_are_known():
    rng = np.random.default_rng(0)
    result = measured(["a", "bb"], noisy(lambda: 1 + 0.2 * rng.random()))
    (ratios,) = result["ratios"].values()
    assert list(result["ratios"]) == ["bb / a"]
    assert ratios["pairs"] == len(result["seconds"]["bb"]) > MIN_PAIRS
    assert ratios["spread"] <= MAX_SPREAD
    assert ratios["low"] <= 2.0 <= ratios["high"]


def test_competition_starts_anew_between_rounds_and_keeps_the_first_losses_and_accuracies(monkeypatch):
    monkeypatch.setattr("benchmarks.measure.SLOW_TO_START", ("ccc",))
    asked = []

    def answer(name, message):
        asked.append((name, message))
        return answer_of(name, message)

    competition = FakeCompetition(["a", "bb", "ccc"], "cpu", answer)
    competition.prepare("net")
    competition.warm_up()
    result = competition.measure("a", starts=3)
    assert result["seconds"] == {name: [float(len(name))] * 15 for name in ("a", "bb", "ccc")}
    assert competition.started == ["a", "bb", "ccc", "a", "bb", "a", "bb"]
    assert asked.count(("a", ("network", "net"))) == 3
    assert asked.count(("a", "epoch")) == 3 + 15  # each start trains one that does not count
    assert asked.count(("ccc", "epoch")) == 1 + 15
    assert asked.count(("a", "finish")) == 1
    assert result["left_out"] == {}


def test_competition_slow_minute_changes_no_ratio():
    """The machine is three times slower from some round on: the medians of all epochs say 1.3, the pairs 2."""
    calls = itertools.count()
    result = measured(["a", "bb"], noisy(lambda: 1.0 if next(calls) < 2 + 2 * 4 else 3.0), rounds=9)
    assert result["ratios"]["bb / a"] == {"median": 2.0, "low": 2.0, "high": 2.0, "spread": 0.0, "pairs": 9}


def test_competition_time_up_leaves_ratios_unknown():
    rng = np.random.default_rng(0)
    ratios = measured(["a", "bb"], noisy(lambda: 10 ** rng.random()), seconds=0.05)["ratios"]["bb / a"]
    assert ratios["spread"] > MAX_SPREAD or ratios["pairs"] < MIN_PAIRS


def test_competition_changes_the_order_of_the_rounds():
    asked = []

    def answer(name, message):
        asked.append(name)
        return answer_of(name, message)

    names = ["a", "bb", "ccc", "dddd"]
    competition = FakeCompetition(names, "cpu", answer)
    competition.prepare("net")
    competition.warm_up()
    asked.clear()
    competition.measure("a", 8)
    orders = {tuple(asked[4 * turn : 4 * turn + 4]) for turn in range(8)}
    assert len(orders) > 4
    assert all(sorted(order) == names for order in orders)


def test_compared_pairs_are_those_with_the_reference_and_with_the_same_library_by_hand():
    names = ["lagvis numpy", "lagvis jax", "JAX jit + scan", "PyTorch eager"]
    assert compared_pairs(names, "lagvis numpy") == [
        ("lagvis jax", "lagvis numpy"),
        ("JAX jit + scan", "lagvis numpy"),
        ("PyTorch eager", "lagvis numpy"),
        ("lagvis jax", "JAX jit + scan"),
    ]
    assert compared_pairs(["lagvis jax", "JAX jit + scan"], "lagvis numpy") == [("JAX jit + scan", "lagvis jax")]


def test_competition_without_time_left_counts_one_round():
    competition = FakeCompetition(["a"], "cpu", answer_of)
    competition.prepare("net", 1)
    competition.warm_up(0.0)
    assert competition.measure("a", 100, 0.0)["seconds"] == {"a": [1.0]}


def test_competition_waits_little_longer_than_the_whole_command_lasts():
    assert 2.0 <= FakeCompetition([], "cpu", answer_of, time.monotonic() + 1).until_the_end(10) <= 3.0
    assert 0.0 <= FakeCompetition([], "cpu", answer_of, time.monotonic() - 1).until_the_end(10) <= 1.0
    assert FakeCompetition([], "cpu", answer_of, time.monotonic() - 60).until_the_end(10) == 0.0
    assert FakeCompetition([], "cpu", answer_of).until_the_end(10) == 10


def competition_whose_time_ends(monkeypatch, epochs):
    """Return a competition of three, ready to measure, whose time ends once so many further epochs are trained."""
    trained = []

    def answer(name, message):
        trained.append(message)
        return answer_of(name, message)

    competition = FakeCompetition(["a", "bb", "ccc"], "cpu", answer)
    competition.prepare("net", 10)
    competition.warm_up(10)
    trained.clear()
    monkeypatch.setattr(competition, "is_over", lambda: trained.count("epoch") >= epochs)
    return competition


def test_competition_time_over_in_the_first_round_raises_and_asks_no_further_competitor(monkeypatch):
    """With two seconds more for each of them, `--seconds 79` took 102 s."""
    competition = competition_whose_time_ends(monkeypatch, 1)
    with pytest.raises(TimeUpError):
        competition.measure("a", 10, 10)
    assert sorted(competition.running) == ["a", "bb", "ccc"]


def test_competition_time_over_in_a_later_round_keeps_the_rounds_before_it(monkeypatch):
    result = competition_whose_time_ends(monkeypatch, 7).measure("a", 10, 10)
    assert result["seconds"] == {"a": [1.0] * 2, "bb": [2.0] * 2, "ccc": [3.0] * 2}
    assert result["left_out"] == {}


def test_competition_answer_that_does_not_come_before_the_end_is_no_hang(monkeypatch):
    def answer(name, message):
        return HANG if (name, message) == ("a", "epoch") else answer_of(name, message)

    competition = FakeCompetition(["a"], "cpu", answer)
    competition.prepare("net", 10)
    over = iter([False, True])
    monkeypatch.setattr(competition, "is_over", lambda: next(over))
    with pytest.raises(TimeUpError):
        competition.warm_up(10)
    assert competition.hung == {}


def test_competition_failed_competitor_is_started_again_for_the_next_network():
    def answer(name, message):
        return Failure("RuntimeError: out of memory") if (name, message) == ("a", "epoch") else answer_of(name, message)

    competition = FakeCompetition(["a", "bb"], "cpu", answer)
    for network in ("net", "other net"):
        competition.prepare(network)
        competition.warm_up()
        result = competition.measure("a", 2)
        assert list(result["seconds"]) == ["bb"]
        assert result["left_out"] == {"a": "RuntimeError: out of memory"}
    assert competition.started == ["a", "bb", "a"]


def test_competition_hanging_competitor_is_left_out_of_all_networks():
    def answer(name, message):
        return HANG if (name, message) == ("a", "epoch") else answer_of(name, message)

    competition = FakeCompetition(["a", "bb"], "cpu", answer)
    for network in ("net", "other net"):
        competition.prepare(network, 5)
        competition.warm_up(5)
        result = competition.measure("a", 2, 5)
        assert list(result["seconds"]) == ["bb"]
        assert "no answer within" in result["left_out"]["a"]
    assert competition.started == ["a", "bb"]


def test_competition_failure_in_a_counted_epoch_is_left_out():
    epochs = []

    def answer(name, message):
        epochs.append((name, message))
        third = name == "a" and epochs.count(("a", "epoch")) == 3
        return Failure("RuntimeError: lost") if third else answer_of(name, message)

    competition = FakeCompetition(["a", "bb"], "cpu", answer)
    competition.prepare("net", 5)
    competition.warm_up(5)
    result = competition.measure("a", 3, 5)
    assert list(result["seconds"]) == ["bb"]
    assert result["left_out"] == {"a": "RuntimeError: lost"}


def test_competition_without_an_accuracy_keeps_the_times():
    def answer(name, message):
        return HANG if (name, message) == ("a", "finish") else answer_of(name, message)

    competition = FakeCompetition(["a", "bb"], "cpu", answer)
    competition.prepare("net", 5)
    competition.warm_up(5)
    result = competition.measure("a", 1, 5)
    assert result["seconds"] == {"a": [1.0], "bb": [2.0]}
    assert result["accuracies"] == {"a": None, "bb": 0.9}
    assert "no answer within" in result["left_out"]["a"]
    assert check(result, "a") == []


def test_competition_removes_tf32_from_the_environment(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("CUPY_TF32", "1")
    Competition([], "cuda")
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    assert "CUPY_TF32" not in os.environ


def test_serve_sends_the_reason_why_a_competitor_cannot_run(monkeypatch):
    class Broken:
        def __init__(self, problem):
            raise RuntimeError("no such device\nmore")

    here, there = multiprocessing.Pipe()
    monkeypatch.setitem(COMPETITORS, "broken", (Broken, ("cpu",)))
    here.send(("network", NETWORK))
    serve("broken", "cpu", there)
    with pytest.raises(NoAnswerError, match=r"^RuntimeError: no such device$"):
        ask(here, FakeProcess())


def test_serve_parent_no_longer_waits_returns(monkeypatch):
    def leave(problem):
        here.close()
        raise RuntimeError("nobody hears this")

    here, there = multiprocessing.Pipe()
    monkeypatch.setitem(COMPETITORS, "left", (leave, ("cpu",)))
    here.send(("network", NETWORK))
    assert serve("left", "cpu", there) is None


def test_serve_trains_and_answers_until_the_pipe_is_closed(monkeypatch):
    class Constant:
        def __init__(self, problem):
            self.problem = problem

        def epoch(self, batches):
            return float(len(batches))

        def weights(self):
            return None

    here, there = multiprocessing.Pipe()
    monkeypatch.setitem(COMPETITORS, "constant", (Constant, ("cpu",)))
    for message in (("network", NETWORK), "epoch", "finish"):
        here.send(message)
    server = threading.Thread(target=serve, args=("constant", "cpu", there))
    server.start()
    assert ask(here, FakeProcess()) is None
    seconds, loss = ask(here, FakeProcess())
    assert seconds >= 0
    assert loss == 300.0
    assert ask(here, FakeProcess()) is None
    here.close()
    server.join(10)
    assert not server.is_alive()


def benchmark(monkeypatch, tmp_path, answer, *flags):
    """Run the command with fake competitors; return the exit code and the JSON."""
    monkeypatch.setattr(
        "benchmarks.__main__.Competition", lambda names, device, end: FakeCompetition(names, device, answer, end)
    )
    monkeypatch.setattr("sys.argv", ["benchmarks", "--output", str(tmp_path), *flags])
    code = main()
    (path,) = tmp_path.glob("*.json")
    return code, json.loads(path.read_text())


def test_benchmarks_limited_time_writes_each_network_and_lists_what_was_left_out(monkeypatch, tmp_path, capsys):
    code, record = benchmark(monkeypatch, tmp_path, answer_of, "--device", "cuda", "--seconds", "30", "--rounds", "2")
    assert code == 0
    assert list(record["results"]) == networks_of("cuda")
    assert record["not reached"] == {}
    assert set(record["results"][NETWORK]["seconds"]) == set(names_of("cuda", limited=True))
    printed = capsys.readouterr().out
    assert (
        "Left out to save time: lagvis torch, lagvis jax, PyTorch tutorial, torch.compile, JAX jit a step." in printed
    )
    assert "| PyTorch CUDA graph | 18000.00 | 18000.00 | 18000.00 | 1.64 ± 0%\\* | 2 | 18.00 | 90.00% |" in printed


def test_benchmarks_only_and_networks_measure_these_alone(monkeypatch, tmp_path, capsys):
    code, record = benchmark(
        monkeypatch, tmp_path, answer_of, "--only", "JAX jit + scan", "lagvis jax", "--networks", "784-512", NETWORK
    )
    assert code == 0
    assert list(record["results"]) == ["784-512-512-10, batch 128", NETWORK]
    assert list(record["results"][NETWORK]["seconds"]) == ["lagvis jax", "JAX jit + scan"]
    assert "costs" not in record
    assert "| JAX jit + scan | 14.000 | 14.000 | 14.000 | 1.40 ± 0% | 15 |" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [f"{record['machine']['date']}-cpu-part.json"]


def test_benchmarks_cut_keeps_the_networks_before_it(monkeypatch, tmp_path):
    def answer(name, message):
        if message == ("network", networks_of("cuda")[2]):
            raise KeyboardInterrupt
        return answer_of(name, message)

    with pytest.raises(KeyboardInterrupt):
        benchmark(monkeypatch, tmp_path, answer, "--device", "cuda", "--seconds", "30", "--rounds", "1")
    (path,) = tmp_path.glob("*.json")
    assert list(json.loads(path.read_text())["results"]) == networks_of("cuda")[:2]


def test_benchmarks_time_over_lists_the_networks_as_not_reached(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Benchmark, "left", lambda self: 60.0 if not self.record["results"] else 1.0)
    code, record = benchmark(monkeypatch, tmp_path, answer_of, "--device", "cuda", "--seconds", "60", "--rounds", "1")
    assert code == 0
    assert list(record["not reached"]) == networks_of("cuda")[1:]
    assert "Not reached: 784-1000-500-10, batch 1000 (1 s were left)." in capsys.readouterr().out


def test_benchmarks_network_whose_first_round_does_not_fit_is_not_reached_and_no_fault(monkeypatch, tmp_path, capsys):
    def time_up(self, *arguments, **options):
        raise TimeUpError

    monkeypatch.setattr(Competition, "measure", time_up)
    code, record = benchmark(monkeypatch, tmp_path, answer_of, "--device", "cuda", "--seconds", "60")
    assert (code, record["results"]) == (0, {})
    assert list(record["not reached"]) == networks_of("cuda")
    assert "(the time did not suffice for an epoch of each competitor)." in capsys.readouterr().out


def test_benchmarks_less_time_left_than_the_last_network_took_to_warm_up_reaches_no_further_one(monkeypatch, tmp_path):
    def warm_up(self, seconds):
        time.sleep(1.0)
        warm_up_of_competition(self, seconds)

    warm_up_of_competition = Competition.warm_up
    monkeypatch.setattr(Competition, "warm_up", warm_up)
    monkeypatch.setattr("benchmarks.__main__.MIN_SECONDS", 0.0)
    monkeypatch.setattr(Benchmark, "left", lambda self: 60.0 if not self.record["results"] else 0.5)
    _, record = benchmark(monkeypatch, tmp_path, answer_of, "--device", "cuda", "--seconds", "60", "--rounds", "1")
    assert set(record["not reached"].values()) == {"0 s were left"}


def test_benchmarks_no_competitor_runs_exits_with_4(monkeypatch, tmp_path, capsys):
    code, record = benchmark(
        monkeypatch, tmp_path, lambda name, message: Failure("DeviceError: no GPU"), "--device", "cuda"
    )
    assert code == 4
    assert record["results"] == {}
    assert capsys.readouterr().err == "error: no competitor can run; lagvis cupy: DeviceError: no GPU\n"


def test_benchmarks_reference_that_fails_is_replaced_and_is_an_error(monkeypatch, tmp_path, capsys):
    def answer(name, message):
        return Failure("DeviceError: no cuBLAS") if name == "lagvis cupy" else answer_of(name, message)

    code, record = benchmark(monkeypatch, tmp_path, answer, "--device", "cuda", "--seconds", "30", "--rounds", "1")
    assert code == 1
    assert list(record["results"]) == networks_of("cuda")
    printed = capsys.readouterr()
    assert "error: 784-32-32-10, batch 200: lagvis cupy cannot run: DeviceError: no cuBLAS" in printed.err


@pytest.mark.parametrize(
    "flags", [("--seconds", "0"), ("--seconds", "nan"), ("--rounds", "0"), ("--only", "torch"), ("--networks", "783")]
)
def test_benchmarks_invalid_flag_exits_with_2(monkeypatch, tmp_path, capsys, flags):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--output", str(tmp_path), *flags])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_benchmarks_output_that_is_a_file_exits_with_2(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["benchmarks", "--output", str(tmp_path / "file")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "cannot be made (File exists)" in capsys.readouterr().err


@pytest.mark.parametrize("network", networks_of("cuda"))
def test_torch_graph_takes_each_row_of_an_epoch_once(torch, network, monkeypatch):
    problem = Problem(network)
    competitor = TorchGraph.__new__(TorchGraph)
    seen = []
    monkeypatch.setattr(TorchGraph, "step", lambda self, index: seen.append(index.clone()))
    TorchGraph.__init__(competitor, problem)
    competitor.epoch(problem.batches(1))
    assert [list(index) for index in seen] == [list(batch) for batch in problem.batches(1)]
    assert problem.plan.full_steps % len(competitor.rows) == 0


RESULT = {
    "seconds": {"lagvis numpy": [0.2, 0.1, 0.3], "other library": [0.4, 0.5, 0.6]},
    "first": {"lagvis numpy": 0.25, "other library": 31.0},
    "losses": {"lagvis numpy": 0.5, "other library": 0.5},
    "accuracies": {"lagvis numpy": 0.93, "other library": 0.925},
    "product errors": {"lagvis numpy": 1e-7, "other library": None},
    "left_out": {"other": "ModuleNotFoundError: no such library"},
}


def test_check_other_loss_or_accuracy_is_a_fault():
    assert check(RESULT, "lagvis numpy") == []
    assert len(check(RESULT | {"losses": {"lagvis numpy": 0.5, "other library": 0.5002}}, "lagvis numpy")) == 1
    assert len(check(RESULT | {"accuracies": {"lagvis numpy": 0.93, "other library": 0.91}}, "lagvis numpy")) == 1


def test_check_product_in_tf32_is_a_fault():
    (fault,) = check(RESULT | {"product errors": {"lagvis numpy": 1e-7, "other library": 3e-4}}, "lagvis numpy")
    assert fault == "other library has an error of 3.0e-04 in a product, which is not full float32"


def test_check_accuracy_of_own_batches_waits_for_some_epochs():
    result = RESULT | {"accuracies": {"lagvis numpy": 0.93, "other library": 0.91}, "losses": {}}
    result["losses"] = {"lagvis numpy": 0.5, "other library": None}
    assert len(check(result, "lagvis numpy")) == 1
    assert check(result | {"seconds": {"lagvis numpy": [0.2], "other library": [0.4]}}, "lagvis numpy") == []


def test_tables_show_medians_ratios_and_missing_competitors():
    shown = training_table("net", "cpu", RESULT, "lagvis numpy")
    assert "| other library | 0.500 | 0.400 | 0.600 | 2.00 ± 75%\\* | 3 | 31.00 | 92.50% |" in shown
    assert "\\* not known: half the 95 % interval of the median of the paired ratios is more than 5 % of it" in shown
    assert "Left out: other (ModuleNotFoundError: no such library)." in shown
    side_by_side = summary_table("cpu", {"net": RESULT, "other net": RESULT | {"seconds": {"lagvis numpy": [0.4]}}})
    assert "| lagvis numpy | 0.200 | 0.400 |" in side_by_side
    assert "| other library | 0.500 (2.00 ± 75%\\*) | left out |" in side_by_side


def test_training_table_warns_of_a_busy_machine():
    warning = "Other programs kept 0.61 cores busy meanwhile: measure again on an idle machine."
    assert warning in training_table("net", "cpu", RESULT | {"other programs": 0.61}, "lagvis numpy")
    assert "busy" not in training_table("net", "cpu", RESULT | {"other programs": 0.01}, "lagvis numpy")


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")
def test_other_programs_own_processes_do_not_count(monkeypatch):
    ticks = {"stat": 1000, 11: 50, 22: 70}

    def read_text(path):
        pid = path.parent.name
        if pid == "proc":
            return f"cpu  {ticks['stat']} 0 0 9999 0 0 0 0 0 0\n"
        if int(pid) not in ticks:
            raise FileNotFoundError(pid)
        return f"{pid} (a (b) c) S {' 0' * 10} {ticks[int(pid)]} 0 0"

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("benchmarks.machine_load.TICKS", 100)
    monkeypatch.setattr("os.getpid", lambda: 11)
    clock = iter((10.0, 12.0, 14.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    others = OtherPrograms([22])
    ticks |= {"stat": 1300, 11: 150, 22: 170}  # 3 s in all, 2 s of them our own, within 2 s
    others.add(33)
    ticks |= {"stat": 1400, 33: 100}
    assert others.cores() == pytest.approx(0.5)
    del ticks[22]  # the process has ended
    assert others.cores() == pytest.approx(0.25)


def test_wait_until_idle_lasts_as_long_as_the_process_computes(monkeypatch):
    used = iter((1.0, 1.005, 1.01, 1.0101, 1.02))
    slept = []
    monkeypatch.setattr("benchmarks.machine_load.running_seconds", lambda pid: next(used))
    monkeypatch.setattr("time.sleep", slept.append)
    wait_until_idle(11)
    assert slept == [0.005] * 3


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system has no schedstat")
def test_running_seconds_counts_the_threads_of_a_process():
    before = running_seconds(os.getpid())
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    assert running_seconds(os.getpid()) - before >= 0.01


def test_tables_show_the_ratio_to_the_same_library_by_hand_without_a_mark_where_it_is_known():
    seconds = {"lagvis numpy": [0.2] * 5, "lagvis jax": [0.1] * 5, "JAX jit + scan": [0.08] * 5}
    result = RESULT | {"seconds": seconds, "left_out": {}}
    result |= {key: dict.fromkeys(seconds, 0.5) for key in ("first", "losses", "accuracies")}
    assert "| lagvis jax / JAX jit + scan |  |  |  | 1.25 ± 0% |  |  |  |" in training_table(
        "net", "cpu", result, "lagvis numpy"
    )
    shown = summary_table("cpu", {"net": result})
    assert "| lagvis jax | 0.100 (0.50 ± 0%) |" in shown
    assert "| lagvis jax / JAX jit + scan | 1.25 ± 0% |" in shown
    assert "not known" not in shown


@pytest.mark.slow
def test_costs_tables_show_what_was_measured():
    costs = {
        "start-up": {"numpy": startup_seconds("numpy", "cpu", 1)},
        "memory": {"numpy": peak_memory("numpy", "cpu")},
        "evaluation": {"numpy": {NETWORK: evaluation_speed(NETWORK, "numpy", "cpu", 1)}},
        "checkpoint": {NETWORK: checkpoint_cost(NETWORK, 2)},
        "growth": {
            "numpy": {"samples": {str(rows): measure_epoch(SMALL, rows, 1, "numpy", "cpu") for rows in (500, 1000)}}
        },
        "left_out": {"cupy": "CuPy is not installed"},
    }
    assert 0 < costs["start-up"]["numpy"]["ready"] < costs["start-up"]["numpy"]["first call"]
    assert costs["memory"]["numpy"] > 50
    assert costs["growth"]["numpy"]["samples"]["1000"][1] == 2 * costs["growth"]["numpy"]["samples"]["500"][1]
    shown = costs_tables(costs)
    for line in (
        "s from the command to the first step",
        "images evaluated a second",
        "| its operations, times |  | 2.00 |",
    ):
        assert line in shown
    assert "Left out: cupy" in shown
