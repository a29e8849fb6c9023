"""`python -m benchmarks.memory`: the peak memory of train.py beside the estimate of training/memory.py.

Each cell is one process of train.py on the CPU: one epoch, with its plots and pages. Its memory is the most that it had
resident (VmHWM of Linux), with the interpreter and the libraries. The estimate is that of --dry-run in a process of its
own, in the same folder with the same flags.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.__main__ import environment

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("numpy", "torch", "jax")
PEAK = """
import sys
sys.path.insert(0, {root!r})
from lagvis.cli import train
code = train.main()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print()
print(status["VmHWM"].split()[0])
sys.exit(code)
"""
# name of the network and its data: flags of train.py
EVERYTHING = (
    "--optimizer", "adamw", "--normalization", "batch", "--dropout", "0.2", "--input-dropout", "0.1", "--input-noise",
    "0.1", "--mixup", "0.2", "--ema", "0.99",
)  # fmt: skip
NETWORKS = {
    "784-64-64-64-10, batch 100 (default)": (),
    "784-32-32-10, batch 200": ("--hidden", "32,32", "-b", "200"),
    "784-1000-500-10, batch 1000": ("--hidden", "1000,500", "-b", "1000"),
    "784-2500-2000-1500-1000-500-10, batch 1000": ("--hidden", "2500,2000,1500,1000,500", "-b", "1000"),
    "784-3000-3000-10, batch 500, no momentum": ("--hidden", "3000,3000", "-b", "500", "--momentum", "0"),
    "784-2048-2048-10, batch 128, float64": ("--hidden", "2048,2048", "-b", "128", "--dtype", "float64"),
    "784-64-64-64-10, batch 100, everything on": EVERYTHING,
    "784-2048-2048-10, batch 128, everything on": ("--hidden", "2048,2048", "-b", "128", *EVERYTHING),
    "4-3-3-2, batch 50 (jump)": ("--recipe", "jump"),
    "100-64-64-64-4, 200,000 rows of float64": ("--data", "wide.npz"),
    "10000-4, 3,000 rows of float64": ("--data", "inputs.npz", "--hidden", "none"),
}


def write_data(folder: Path) -> None:
    """Write the two data sets of real numbers, four classes each."""
    rng = np.random.default_rng(0)
    for name, rows, columns in (("wide.npz", 200_000, 100), ("inputs.npz", 3_000, 10_000)):
        x = rng.normal(size=(rows, columns))
        y = (x[:, 0] > 0) + 2 * (x[:, 1] > 0)
        test = rows // 6
        np.savez(folder / name, x_train=x[test:], y_train=y[test:], x_test=x[:test], y_test=y[:test])


def output_of(folder: Path, code: list[str], flags: list[str]) -> str:
    """Return what a process prints that trains, or plans to, in this folder."""
    command = [sys.executable, *code, "--device", "cpu", "--epochs", "1", "--quiet", "--json", *flags]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Print the table, a row for each network and backend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default=",".join(BACKENDS), help=f"(default: {','.join(BACKENDS)})")
    flags = parser.parse_args()
    facts = environment() | {"command": " ".join(["python -m benchmarks.memory", *sys.argv[1:]])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    print("\n| network | backend | estimated, MB | measured, MB | estimated / measured |\n|---|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        for network, options in NETWORKS.items():
            for backend in flags.backends.split(","):
                given = ["--backend", backend, *options]
                plan = output_of(folder, [str(ROOT / "train.py"), "--dry-run"], given)
                trained = output_of(folder, ["-c", PEAK.format(root=str(ROOT))], given)
                estimated, measured = json.loads(plan)["host_peak_mb"], int(trained.split()[-1]) * 1.024e-3
                ratio = estimated / measured
                print(f"| {network} | {backend} | {estimated:.0f} | {measured:.0f} | {ratio:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
