"""`python -m benchmarks.cuda_costs --seconds N`: where the time of a training step on a CUDA device goes.

Measures the step on CuPy, its kernels, its matrix products in three libraries, single calls, CUDA graphs and the
ceilings of the device. Another process measures; if a measurement fails, crashes or hangs, that is recorded, and the
next one gets a new process. The JSON is replaced after each measurement. No setting of the device is changed.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.__main__ import environment, output_folder
from benchmarks.cuda.calls import measure_calls, measure_ceilings, measure_transfers
from benchmarks.cuda.device import Device, open_device
from benchmarks.cuda.graphs import (
    measure_capture_test,
    measure_large_graphs,
    measure_pool_test,
    measure_tiny_kernels,
)
from benchmarks.cuda.products import measure_cublaslt_products, measure_cupy_products, measure_cutensor_products
from benchmarks.cuda.steps import (
    capture_recorded_steps,
    capture_steps,
    measure_steps,
    profile_cupy_steps,
    profile_torch_steps,
)
from benchmarks.measure import Failure, HangError, NoAnswerError, ask, send_answer
from benchmarks.tables import table_head, table_row
from lagvis.backends.backend import first_line
from lagvis.cli.streams import print_line, run_tool, write_stderr
from lagvis.errors import DeviceError
from lagvis.storage.atomic import replace_file

DEFAULT_SECONDS = 90.0
MAX_OPEN_SECONDS = 30.0
MIN_SECONDS = 1.0  # of time left, to begin a measurement
MAX_ROWS = 12  # of a printed table of kernels
# Share of the time, and seconds at most, that the first measurement waits until PyTorch is imported in the other
# process: an import beside it would disturb the clock of the host.
TORCH_SHARE, MAX_TORCH_SECONDS = 0.25, 10.0
OPEN, OPEN_WITH_TORCH = "open", "open with torch"
# Name: (function, seconds at most), in the order of worth. Those of PyTorch have a process of their own.
MEASUREMENTS: dict[str, tuple[Callable[[Device], dict[str, Any]], float]] = {
    "step": (measure_steps, 20.0),
    "step, kernels": (profile_cupy_steps, 15.0),
    "capture test": (measure_capture_test, 5.0),
    "step, captured": (capture_steps, 15.0),
    "recorded step, captured": (capture_recorded_steps, 15.0),
    "tiny kernels in a graph": (measure_tiny_kernels, 5.0),
    "products, cupy": (measure_cupy_products, 15.0),
    "products, cublasLt": (measure_cublaslt_products, 15.0),
    "calls": (measure_calls, 10.0),
    "pool test": (measure_pool_test, 5.0),
    "ceilings": (measure_ceilings, 10.0),
    "large graphs": (measure_large_graphs, 10.0),
    "transfers": (measure_transfers, 5.0),
    "products, cuTENSOR": (measure_cutensor_products, 15.0),
    "step on PyTorch, kernels": (profile_torch_steps, 20.0),
}
WITH_TORCH = ("step, kernels", "step on PyTorch, kernels")


def serve(pipe: Connection) -> None:
    """Open the device for a message OPEN; run the measurement of each other message; a Failure is the last answer."""
    device: Any = None
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):  # the parent has ended
            return
        answer: Any = None
        try:
            if message in (OPEN, OPEN_WITH_TORCH):
                device = open_device()
                if message == OPEN_WITH_TORCH:
                    import torch

                    torch.cuda.init()
            else:
                with device.on_stream():
                    answer = MEASUREMENTS[message][0](device)
        except DeviceError as error:
            answer = Failure(str(error))
        except BaseException as error:
            answer = Failure(f"{type(error).__name__}: {first_line(error)}")
        if not send_answer(pipe, answer):
            return


class Workers:
    """The processes that measure: one for CuPy alone, one for CuPy beside PyTorch."""

    def __init__(self) -> None:
        self.processes: dict[bool, tuple[Connection, BaseProcess]] = {}
        self.opened: set[bool] = set()

    def start(self, with_torch: bool) -> None:
        """Start a process, which opens its device; do not wait for it."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process: BaseProcess = context.Process(target=serve, args=(there,), daemon=True)
        process.start()
        there.close()  # else recv() would wait for ever for a process that died
        here.send(OPEN_WITH_TORCH if with_torch else OPEN)
        self.processes[with_torch] = (here, process)

    def open(self, with_torch: bool, seconds: float) -> tuple[Connection, BaseProcess]:
        """Return a process whose device is open; raise NoAnswerError if it cannot be opened."""
        if with_torch not in self.processes:
            self.start(with_torch)
        pipe, process = self.processes[with_torch]
        if with_torch not in self.opened:
            ask(pipe, process, seconds=seconds)
            self.opened.add(with_torch)
        return pipe, process

    def end(self, with_torch: bool) -> None:
        """End a process, also if it hangs."""
        self.opened.discard(with_torch)
        if with_torch in self.processes:
            pipe, process = self.processes.pop(with_torch)
            pipe.close()
            process.kill()
            process.join(1)


def run_measurement(workers: Workers, name: str, left: float) -> dict[str, Any]:
    """Return seconds and result of a measurement, or its error as text."""
    with_torch, started = name in WITH_TORCH, time.monotonic()
    try:
        pipe, process = workers.open(with_torch, min(left, MAX_OPEN_SECONDS))
        left -= time.monotonic() - started
        result = {"result": ask(pipe, process, name, max(0.0, min(left, MEASUREMENTS[name][1])))}
    except NoAnswerError as error:
        workers.end(with_torch)
        result = {"error": str(error)}
    return {"seconds": round(time.monotonic() - started, 2)} | result


def cell(value: Any) -> str:
    """Return a value of a result as text."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-2 or abs(value) >= 1e6 else f"{value:,.2f}"
    return str(value).replace("|", "\\|")


def result_table(title: str, result: dict[str, Any]) -> str:
    """Return a result as a table: a row for each name; if the values are rows themselves, a column for each key."""
    rows = {name: value for name, value in result.items() if isinstance(value, dict)}
    lines = []
    if rows:
        columns = list(dict.fromkeys(key for row in rows.values() for key in row if not isinstance(row[key], dict)))
        lines += table_head([title, *columns])
        lines += [table_row([name, *(cell(row.get(key, "")) for key in columns)]) for name, row in rows.items()]
    if len(rows) < len(result):
        lines += [] if rows else table_head([title, ""])
        lines += [table_row([name, cell(value)]) for name, value in result.items() if name not in rows]
    for name, row in rows.items():
        for key, inner in row.items():
            if isinstance(inner, dict):
                first = dict(list(inner.items())[:MAX_ROWS])
                lines += ["", result_table(f"{name}: {key}", first)]
    return "\n".join(lines)


def summary(record: dict[str, Any]) -> str:
    """Return the most important results as a short table, of what was measured."""

    def result(name: str) -> dict[str, Any]:
        found: dict[str, Any] = record["measurements"].get(name, {}).get("result", {})
        return found

    def rows_of(name: str) -> dict[str, dict[str, Any]]:
        return {key: row for key, row in result(name).items() if isinstance(row, dict)}

    lines: list[tuple[str, Any]] = []
    for case, row in rows_of("step").items():
        lines.append((f"us a step, plain loop / backend; {case}", (row["plain loop, device"], row["backend, device"])))
        for form in ("step, captured", "recorded step, captured"):
            captured = rows_of(form).get(case)
            if captured:
                shown = (captured["us a step"], captured["nodes a step"], captured["equal"])
                lines.append((f"us a step / nodes / equals the plain loop, {form}; {case}", shown))
        kernels = rows_of("step, kernels").get(case)
        if kernels:
            counts = (kernels["kernels a step"], kernels["share between kernels"])
            lines.append((f"kernels a step / share of time between them; {case}", counts))
    for form, row in rows_of("tiny kernels in a graph").items():
        lines.append((f"us a node of a graph, {form}", row["us a node"]))
    for name in ("products, cupy", "products, cublasLt", "products, cuTENSOR"):
        errors = [row["error"] for row in rows_of(name).values()]
        if errors:
            lines.append((f"largest error of {name} (TF32: 3e-4)", max(errors)))
    for name in ("capture test", "pool test", "ceilings"):
        lines += [(key, value) for key, value in result(name).items() if not isinstance(value, dict | list | str)]
    rows = [
        table_row([name, " / ".join(map(cell, value)) if isinstance(value, tuple) else cell(value)])
        for name, value in lines
    ]
    return "\n".join(table_head(["summary", ""]) + rows)


def main() -> int:
    """Measure, print tables, write JSON; return 4 without a usable device, 1 if a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda_costs", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, help=f"time of the whole command (default: {DEFAULT_SECONDS})"
    )
    parser.add_argument(
        "--output", default="benchmarks/results", help="folder of the JSON (default: benchmarks/results)"
    )
    flags = parser.parse_args()
    if not flags.seconds > 0:
        parser.error(f"--seconds is {flags.seconds}; expected a number of seconds above 0")
    end = time.monotonic() + flags.seconds
    folder = output_folder(parser, flags.output)
    workers = Workers()
    try:
        workers.start(True)
        workers.open(False, min(MAX_OPEN_SECONDS, flags.seconds))
    except NoAnswerError as error:
        for with_torch in (False, True):
            workers.end(with_torch)
        reason = f"the device does not open: {error}" if isinstance(error, HangError) else str(error)
        write_stderr(f"error: {reason}\n")
        return 4
    try:
        workers.open(True, min(MAX_TORCH_SECONDS, TORCH_SHARE * flags.seconds))
    except HangError:
        pass  # it is asked again for its measurement
    except NoAnswerError:
        workers.end(True)  # it is started again for its measurement, which then records the reason
    facts = environment("cuda") | {"command": " ".join(["python -m benchmarks.cuda_costs", *sys.argv[1:]])}
    print_line(", ".join(f"{key} {value}" for key, value in facts.items()))
    record: dict[str, Any] = {"machine": facts, "measurements": {}, "not reached": list(MEASUREMENTS)}
    path = folder / f"{facts['date']}-cuda-costs.json"
    for name in MEASUREMENTS:
        left = end - time.monotonic()
        if left < MIN_SECONDS:
            break
        done = run_measurement(workers, name, left)
        record["measurements"][name] = done
        record["not reached"].remove(name)
        replace_file(path, (json.dumps(record, indent=1) + "\n").encode())
        if "error" in done:
            print_line(f"\nfailed: {name} ({done['error']})")
        else:
            print_line(f"\n{result_table(name, done['result'])}")
    for with_torch in (False, True):
        workers.end(with_torch)
    failed = [name for name, done in record["measurements"].items() if "error" in done]
    print_line(f"\n{summary(record)}")
    if record["not reached"]:
        print_line(f"\nNot reached: {', '.join(record['not reached'])}.")
    print_line(f"\n{len(record['measurements']) - len(failed)} of {len(MEASUREMENTS)} measurements. Written: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    code = run_tool(main)
    os._exit(code)  # a process that hangs in the driver cannot be waited for
