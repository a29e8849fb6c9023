"""The process that fuzzes one reader: python -m fuzzing.child NAME INPUTS SEED PLACE KEPT, started by the runner."""

import json
import mmap
import os
import struct
import sys
from pathlib import Path

import atheris

from fuzzing.case import MAX_CASE_BYTES, pack

with atheris.instrument_imports(include=["lagvis"]):  # their branches guide the engine
    from fuzzing.campaign import Campaign
    from fuzzing.mutator import Mutator
    from fuzzing.reader import valid_cases
    from fuzzing.readers import READERS, mutate


def fuzz(name: str, inputs: int, seed: int, place: Path, kept: Path) -> None:
    """Read cases until `inputs` mutated ones were read, write the result to `place` and end the process.

    Every case is written to a shared file before it is read, where the runner finds it if this process dies.
    """
    reader, campaign, valid = READERS[name], Campaign(name, place, kept), Campaign(name, place, kept)
    seeds = [pack(files) for files in valid_cases(reader)]
    corpus = place / "corpus"
    corpus.mkdir()
    for i, case in enumerate(seeds):
        (corpus / str(i)).write_bytes(case)
    not_mutated = {*seeds, b""}
    with (place / "now").open("w+b") as file:
        file.truncate(16 + 2 * MAX_CASE_BYTES)
        now = mmap.mmap(file.fileno(), 0)
    runs = 0

    def run_case(case: bytes) -> None:
        nonlocal runs
        runs += 1
        now[16 : 16 + len(case)] = case
        now[:16] = struct.pack("<QQ", runs, len(case))
        if case in not_mutated:
            valid.run_case(case)
            return
        campaign.run_case(case)
        if campaign.inputs >= inputs:
            result = campaign.result() | {"seeds_accepted": valid.accepted, "seeds": len(seeds)}
            (place / "result").write_text(json.dumps(result), encoding="utf-8")
            os._exit(0)

    def mutate_case(case: bytes, _: int, seed: int) -> bytes:
        return mutate(reader, case, Mutator(seed, atheris.Mutate, reader.words))

    options = [f"-seed={seed + 1}", f"-max_len={MAX_CASE_BYTES}", "-rss_limit_mb=0", "-verbosity=0", "-timeout=1000"]
    atheris.Setup([sys.argv[0], str(corpus), *options], run_case, custom_mutator=mutate_case)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
