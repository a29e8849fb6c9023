"""Carry a trained network into other programs: python export.py RUN --format safetensors|npz|onnx|paper|html."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.errors import CheckpointError
from lagvis.formats.arrays import npz_bytes, safetensors_bytes
from lagvis.formats.onnx_model import imprecise_in_float32, onnx_bytes
from lagvis.formats.page import page_html
from lagvis.formats.paper import is_paper_folder, paper_files
from lagvis.runs.atomic import write_export_file, write_export_folder
from lagvis.runs.filenames import LAST, RECIPE, RUN_FILES
from lagvis.runs.lookup import find_checkpoint, read_network
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import widths_text


class Format(NamedTuple):
    """What a format is called by default, and what makes it of a checkpoint: a file, or several in a folder."""

    name: str
    make: Callable[[Checkpoint], bytes | dict[str, bytes]]


def page_file(checkpoint: Checkpoint) -> bytes:
    """Return the web page of a network; ExportError if nothing can be drawn for it."""
    return page_html(checkpoint.model, checkpoint.state["params"], widths_text(checkpoint.model.widths)).encode()


FORMATS = {
    "safetensors": Format("model.safetensors", safetensors_bytes),
    "npz": Format("model.npz", npz_bytes),
    "onnx": Format("model.onnx", onnx_bytes),
    "paper": Format("saved_network", paper_files),
    "html": Format("page.html", page_file),
}


def make_parser() -> options.Parser:
    """All flags of this door."""
    parser = options.Parser("Carry a trained network into other programs, or onto a page to draw on.")
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run folder, a run's name, a .safetensors file, or saved_network/ of the paper's program",
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=list(FORMATS),
        help="safetensors or npz: the arrays and their meaning; onnx: for onnxruntime and its like (extra onnx); "
        "paper: a folder for the paper's program; html: one page on which one draws (default: none, it must be said)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where it is written, over what is there (default: export/ in the run folder, saved_network-export/)",
    )
    parser.add_argument(
        "-o", "--output-dir", default="runs", metavar="DIR", help="where runs are looked up by name (default: runs)"
    )
    options.add_output_flags(parser)
    return parser


def place(output: str | None, source: Path, name: str) -> Path:
    """Where an export goes; CheckpointError if that is a file that the run lives by, or no folder can be made."""
    if output is None:
        folder = source.parent / "export"
        if source.is_dir():  # the paper's, which is one only while nothing else lies in it
            folder = source.with_name(f"{source.name}-export")
        elif source.name != LAST:
            folder = folder / source.stem  # so that `best` leaves what was made of `last`
        for own in (source.parent / "export", folder):
            if os.path.islink(own):  # where no place is named, nothing is written outside the run folder
                raise CheckpointError(f"{own} is a link; remove it, or name a place by --output")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be made ({error.strerror}); name a place by --output") from None
        return folder / name
    path = Path(os.path.expanduser(output)).absolute()
    for named in (path, Path(os.path.realpath(path))):
        belongs = named.name in RUN_FILES and os.path.isfile(named.parent / RECIPE)
        read = any(os.path.exists(one) and os.path.samefile(one, source) for one in (named, named.parent))
        if belongs or read:
            raise CheckpointError(f"{path} belongs to a run, which would be lost; name another --output")
    return path


def main(argv: list[str] | None = None) -> int:
    """A network in, a file out, and its path on stdout."""
    flags = make_parser().parse(argv)
    chosen = FORMATS[flags.format]
    source = find_checkpoint(flags.run, flags.output_dir)
    checkpoint = read_network(source)
    made = chosen.make(checkpoint)
    path = place(flags.output, source, chosen.name)
    if isinstance(made, dict):
        write_export_folder(path, made, is_paper_folder)
    else:
        write_export_file(path, made)
    names = checkpoint.model.class_names
    if flags.format == "paper" and names != tuple(map(str, range(len(names)))):
        print_stderr(
            f"The paper's files hold no class names: output 0 is {names[0]}, and so on, in the order of the run."
        )
    if flags.format == "onnx" and (rough := imprecise_in_float32(checkpoint)):
        name, mean, deviation = rough[0]
        more = f", and {len(rough) - 1} more," if len(rough) > 1 else ""
        print_stderr(
            f"In float32 {name} (mean {mean:.6g}, deviation {deviation:.3g}){more} loses digits that predict.py keeps: "
            f"this file may answer otherwise; for one that does not, train with --dtype float64."
        )
    size = sum(map(len, made.values())) if isinstance(made, dict) else len(made)
    facts = {"run": str(source), "format": flags.format, "output": str(path), "bytes": size}
    print_result(json.dumps(facts) if flags.json else str(path))
    return 0
