"""Mutate files and have every reader read them: python -m fuzzing [--reader NAME] [--inputs 100000] [--seed 0].

Guided by coverage (atheris, `pip install -e '.[fuzz]'`). A reader may accept an input or refuse it with an error of its
own, such as a DataError. A fault is anything else: another exception, a warning, output on stderr, more than 256 MiB of
memory for a file of some kilobytes, a run time above 20 seconds, the death of the process. In half of the inputs the
content within a packing is mutated, and the packing (gzip, zip, the lengths and checksums of PNG, NPY and safetensors,
the digest of a checkpoint) is computed again: otherwise no mutation would pass a checksum.

Prints one JSON object per reader. Faulty inputs are stored; `--reader NAME --case FILE` reads one of them again.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from fuzzing.case import unpack, write
from fuzzing.readers import READERS
from fuzzing.runner import run


def main() -> int:
    """Fuzz one reader or all; exit with 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reader", choices=list(READERS))
    parser.add_argument("--inputs", type=int, default=100_000, help="mutated inputs a reader (default: 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=Path, help="read this kept input again, and let its exception through")
    parser.add_argument("--keep", type=Path, help="where faulty inputs are kept (default: a new temporary folder)")
    flags = parser.parse_args()
    if flags.case:
        if not flags.reader:
            parser.error("--case needs --reader")
        with tempfile.TemporaryDirectory() as place:
            case = flags.case.read_bytes()
            write(unpack(case), Path(place))
            READERS[flags.reader].read(Path(place), unpack(case), case[0])
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("error: atheris is not installed; pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    kept = (flags.keep or Path(tempfile.mkdtemp(prefix="lagvis-fuzz-"))).resolve()
    kept.mkdir(parents=True, exist_ok=True)
    faults: list[dict[str, Any]] = []
    for name in [flags.reader] if flags.reader else READERS:
        result = run(name, flags.inputs, flags.seed, kept)
        faults += result["faults"]
        print(json.dumps(result | {"faults": sum(fault["times"] for fault in result["faults"])}), flush=True)
        for fault in result["faults"]:
            print(f"error: {fault['case']} ({fault['times']} like it): {fault['fault']}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
