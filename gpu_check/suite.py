"""The stage of the tests that a GPU decides: each backend in processes of its own, all at once."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from gpu_check.processes import Finished
from gpu_check.record import StageResult
from gpu_check.stage import Context

# backend: (test id on a GPU, test id on the CPU in its place), from tests/conftest.py
TEST_IDS = {"cupy": ("cupy", "numpy"), "torch": ("torch-cuda", "torch"), "jax": ("jax-cuda", "jax")}
WEIGHTS = {"jax": 4}  # shares of the processes: JAX compiles every test, which takes six times as long as PyTorch's
MAX_CAUSE_LINES, MAX_CAUSE_CHARACTERS = 3, 160  # by which failures count as the same
MIN_TESTS = 100  # for each backend; fewer mean that the ids in tests/conftest.py are no longer those above
# The machine may hold any plugin of pytest, and its libraries may warn of anything at their first use of a GPU: a
# warning, which pyproject.toml makes an error, is counted and does not decide a test.
PYTEST = (
    "-m", "pytest", "-q", "-rfE", "--continue-on-collection-errors", "-W", "default", "-p", "no:cacheprovider",
    "-p", "gpu_check.selection",
)  # fmt: skip
VARIABLES = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    # many processes share the cores, and the tests are small
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
# XLA would measure the algorithms of every product of every test; the other stages run with its usual settings
NO_AUTOTUNING = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}


def ids_of(backend: str, device: str) -> tuple[str, str | None]:
    """Return the test id of a backend on a device, and on the CPU the id on a GPU in whose place it stands."""
    on_gpu, on_cpu = TEST_IDS["cupy" if backend == "numpy" else backend]
    return (on_gpu, None) if device == "cuda" else (on_cpu, on_gpu)


def process_counts(backends: list[str], cores: int) -> dict[str, int]:
    """Return the number of processes of each backend: together about one for each core."""
    weights = {name: WEIGHTS.get(name, 1) for name in backends}
    return {name: max(min(weight, cores), cores * weight // sum(weights.values())) for name, weight in weights.items()}


def read_results(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return which tests a process selected, and its other lines: outcomes and warnings (gpu_check.selection)."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except ValueError:  # the process was ended while it wrote the line
            continue
    return (parsed[0], parsed[1:]) if parsed else ({"selected": 0, "functions": []}, [])


def cause_of(report: str) -> str:
    """Return the beginning of the error in a report of pytest, whose lines begin with E; else its last line."""
    lines = report.strip().splitlines() or ["no report"]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    text = " ".join(filter(None, errors[:MAX_CAUSE_LINES])) or lines[-1].strip()
    return text[:MAX_CAUSE_CHARACTERS]


def check_tests(context: Context, deadline: float, result: StageResult) -> None:
    """Run the tests of every backend; a skip for want of a backend, and too few tests, are faults."""
    ids = {name: ids_of(name, context.device) for name in context.backends}
    # NumPy and PyTorch are the references of many tests
    required = ",".join(sorted({"numpy", *({"torch"} & set(ids)), *(backend_id for backend_id, _ in ids.values())}))
    counts = process_counts(context.backends, context.cores)
    jobs, parts = [], []
    for name in sorted(context.backends, key=lambda name: -WEIGHTS.get(name, 1)):  # the longest first
        backend_id, twin = ids[name]
        for i in range(1, counts[name] + 1):
            path = context.work / f"tests-{name}-{i}"
            chosen = ("--backend-id", backend_id, *(("--twin-of", twin) if twin else ()))
            part = ("--part", f"{i}/{counts[name]}", "--results", str(path))
            command = (*PYTEST, *chosen, *part, "tests")
            variables = {"LAGVIS_REQUIRE": required, **VARIABLES, **(NO_AUTOTUNING if name == "jax" else {})}
            jobs.append(partial(context.runner.python, *command, deadline=deadline, **variables))
            parts.append((name, path))
    finished: list[Finished] = []
    try:
        finished = context.runner.together(jobs)
    finally:  # also after Ctrl-C
        for name in context.backends:
            paths = [path for owner, path in parts if owner == name]
            summarize(ids[name][0], [read_results(path) for path in paths], result)
    for (name, _), process in zip(parts, finished, strict=True):
        if process.exit not in (0, 1) or process.cut:  # 1: tests failed, which the results say
            result.faults.append(f"{ids[name][0]}: {process.reason()}")


def summarize(backend_id: str, parts: list[tuple[dict[str, Any], list[dict[str, Any]]]], result: StageResult) -> None:
    """Add the counts, failures, skips, slowest tests and warnings of one backend to the result."""
    selected = sum(chosen["selected"] for chosen, _ in parts)
    functions = {function for chosen, _ in parts for function in chosen["functions"]}
    outcomes = [line for _, found in parts for line in found if "outcome" in line]
    warned = Counter(line["warning"] for _, found in parts for line in found if "warning" in line)
    counts = Counter(outcome["outcome"] for outcome in outcomes)
    failures = [outcome for outcome in outcomes if outcome["outcome"] == "failed"]
    skips = Counter(outcome["reason"] for outcome in outcomes if outcome["outcome"] == "skipped")
    result.measured[backend_id] = {
        "processes": len(parts),
        "selected": selected,
        **counts,
        "failures": failures,
        "skips": skips,
        "slowest": sorted(outcomes, key=lambda outcome: -outcome["seconds"])[:10],
        "warnings": warned,
    }
    words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "none ended"
    noticed = f", {warned.total()} warnings" if warned else ""
    result.notes.append(f"{backend_id}: {words} of {selected}{noticed}")
    if selected < MIN_TESTS:
        result.faults.append(f"{backend_id}: {selected} tests have this id, at least {MIN_TESTS} were expected")
    ended = {outcome["test"] for outcome in outcomes}
    if unfinished := selected - len(ended):
        missed = sorted(functions - {test.partition("[")[0] for test in ended})
        first = f", the first is {missed[0]}" if missed else ""
        result.faults.append(
            f"{backend_id}: {unfinished} of {selected} tests did not end; "
            f"functions of which none did: {len(missed)} of {len(functions)}{first}"
        )
    causes: dict[str, list[str]] = {}
    for failure in failures:
        causes.setdefault(cause_of(failure["reason"]), []).append(failure["test"])
    result.faults += [
        f"{backend_id}: {len(tests)} failed with {cause}, the first is {tests[0]}"
        for cause, tests in sorted(causes.items(), key=lambda item: -len(item[1]))
    ]
