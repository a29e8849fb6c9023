"""The stages other than the tests and the commands: the card, the comparison of backends, speed and costs."""

import os
from functools import partial
from typing import Any

from gpu_check.commands import check_commands
from gpu_check.record import SKIPPED, StageResult
from gpu_check.stage import DEFAULT_BACKENDS, Context, Stage, read_json
from gpu_check.suite import check_tests
from lagvis.cli.streams import print_line

CARD_FACTS = ("name", "uuid", "driver_version", "memory.total", "memory.used", "compute_cap", "compute_mode")
# What a measurement gets less than its limit, to end its last round and to write its results
MIN_END_SECONDS = 8.0
END_SHARE = 0.15


class NoDeviceError(Exception):
    """No backend computes on the device; the text says why."""


def check_card(context: Context, deadline: float, result: StageResult) -> None:
    """Read the facts of the card and find the backends that compute on it.

    Raise NoDeviceError if there are none and nvidia-smi finds no card. Where it finds one, the later stages try every
    backend, since the errors are what is to be learnt there.
    """
    runner, names = context.runner, list(context.backends)
    jobs = [partial(runner.python, "-m", "gpu_check.probe", context.device, name, deadline=deadline) for name in names]
    jobs.append(partial(runner.python, "-m", "backends", deadline=deadline))
    if context.device == "cuda":
        query = f"--query-gpu={','.join(CARD_FACTS)}"
        jobs.append(partial(runner.run, ["nvidia-smi", query, "--format=csv,noheader"], deadline=deadline))
        jobs.append(partial(runner.python, "-c", "import cupy; cupy.show_config()", deadline=deadline))
    finished = runner.together(jobs)
    probes, backends, card = finished[: len(names)], finished[len(names)], finished[len(names) + 1 :]
    # of a probe without an answer, the later stages find out whether the backend computes
    found = {name: read_json(probe, result) or {} for name, probe in zip(names, probes, strict=True)}
    reasons = {name: facts["reason"] for name, facts in found.items() if "reason" in facts}
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""  # nvidia-smi does not read it
    seen = bool(card) and card[0].exit == 0 and bool(card[0].stdout.strip()) and not hidden
    if len(reasons) == len(names) and not seen:
        raise NoDeviceError(next(iter(reasons.values())))
    result.measured["backends"] = found
    if card:
        rows = [dict(zip(CARD_FACTS, line.split(", "), strict=False)) for line in card[0].stdout.splitlines()]
        result.measured["cards"] = rows
        result.notes += [f"{row['name']}, driver {row.get('driver_version')}" for row in rows]
    if len(reasons) == len(names):
        result.faults += [f"{name}: {reason}" for name, reason in reasons.items()]
        result.notes.append("no backend computes on this card; the later stages try all of them")
    else:
        context.backends[:] = [name for name in names if name not in reasons]
        for name, reason in reasons.items():
            result.notes.append(f"{name} is not checked: {reason.partition('. ')[0]}")
            if name == DEFAULT_BACKENDS["cuda"]:
                result.faults.append(f"CuPy, the default of --device cuda: {reason}")
        computing = [name for name, facts in found.items() if facts and name not in reasons]
        result.notes.append(f"{', '.join(computing) or 'none'} can compute on {context.device}")
    result.faults += [f"{command.command}: {command.reason()}" for command in (backends, *card) if command.exit != 0]


def check_comparison(context: Context, deadline: float, result: StageResult) -> None:
    """Compare every backend with NumPy in float64, step by step, in both dtypes, each in a process of its own."""
    names = [name for name in context.backends if name != "numpy"]  # NumPy is the reference
    command = ("compare.py", "--device", context.device, "--json")
    cases = [(dtype, name) for dtype in ("float32", "float64") for name in names]
    jobs = [
        partial(context.runner.python, *command, "--backends", name, "--dtype", dtype, deadline=deadline)
        for dtype, name in cases
    ]
    differences: dict[str, list[dict[str, Any]]] = {}
    for (dtype, name), finished in zip(cases, context.runner.together(jobs), strict=True):
        found = read_json(finished, result)
        if found is not None:
            result.measured[f"{name} {dtype}"] = found
            differences.setdefault(dtype, []).extend(found["differences"])
    for dtype, of_dtype in differences.items():
        failed = [d for d in of_dtype if not d["passed"]]
        result.faults += [f"{dtype}: {d['backend']} differs in {d['tensor']}: {describe(d)}" for d in failed]
        nearest = max((d for d in of_dtype if d["passed"]), key=share_of_bound, default=None)
        if nearest is not None:
            total = len(of_dtype)
            result.notes.append(
                f"{dtype}: {total - len(failed)} of {total} bounds hold, nearest {nearest['backend']} "
                f"{nearest['tensor']} at {share_of_bound(nearest):.2g} of its bound"
            )


def share_of_bound(difference: dict[str, Any]) -> float:
    """Return the relative difference as a share of its bound."""
    return float(difference["relative"] / difference["bound"])


def describe(difference: dict[str, Any]) -> str:
    """Return difference and bound in words."""
    return f"relative {difference['relative']}, bound {difference['bound']}"


def measure(module: str, flags: list[str], context: Context, deadline: float, result: StageResult) -> None:
    """Run a module that measures for `--seconds` and writes JSON into the output folder; print what it prints."""
    before = {path: path.stat().st_mtime_ns for path in context.output.glob("*.json")}
    seconds = max(1, int(result.limit - max(MIN_END_SECONDS, END_SHARE * result.limit)))
    finished = context.runner.python(
        "-m", module, *flags, "--seconds", str(seconds), "--output", str(context.output), deadline=deadline
    )
    written = [path for path in context.output.glob("*.json") if before.get(path) != path.stat().st_mtime_ns]
    result.measured["files"] = sorted(path.name for path in written)
    result.notes.append(f"in {', '.join(result.measured['files']) or 'no file'}")
    if finished.exit != 0:
        result.faults.append(f"{finished.command}: {finished.reason()}")
    print_line(finished.stdout[-4000:].rstrip())


def check_speed(context: Context, deadline: float, result: StageResult) -> None:
    """Measure Lagvis beside the other libraries."""
    measure("benchmarks", ["--device", context.device], context, deadline, result)


def check_costs(context: Context, deadline: float, result: StageResult) -> None:
    """Measure where the time of a step goes on the GPU."""
    if context.device != "cuda":
        result.status = SKIPPED
        result.notes.append("needs a CUDA device")
        return
    measure("benchmarks.cuda_costs", [], context, deadline, result)


STAGES = (
    Stage("card", 40, check_card),
    Stage("tests", 90, check_tests),
    Stage("compare", 30, check_comparison),
    Stage("commands", 60, check_commands),
    Stage("speed", 50, check_speed, share=0.55),
    Stage("costs", 30, check_costs, share=1.0),
)
