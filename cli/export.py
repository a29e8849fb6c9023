"""Export a trained network to another format: python export.py RUN --format safetensors|npz|onnx|paper|html."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.cli.output_path import find_network, output_path
from lagvis.errors import CheckpointError
from lagvis.formats.arrays import npz_bytes, safetensors_bytes
from lagvis.formats.onnx_model import imprecise_in_float32, onnx_bytes
from lagvis.formats.page import page_html
from lagvis.formats.paper import is_paper_folder, paper_files
from lagvis.storage.atomic import write_export_file, write_export_folder
from lagvis.storage.filenames import LAST
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import widths_text


class Format(NamedTuple):
    """Export format: default name of the output, and the function that returns its file or the files of its folder."""

    name: str
    make: Callable[[Checkpoint], bytes | dict[str, bytes]]


def page_file(checkpoint: Checkpoint) -> bytes:
    """Return the web page that runs a network; ExportError if there is no page for such a network."""
    return page_html(checkpoint.model, checkpoint.state["params"], widths_text(checkpoint.model.widths)).encode()


FORMATS = {
    "safetensors": Format("model.safetensors", safetensors_bytes),
    "npz": Format("model.npz", npz_bytes),
    "onnx": Format("model.onnx", onnx_bytes),
    "paper": Format("saved_network", paper_files),
    "html": Format("page.html", page_file),
}


def make_parser() -> options.Parser:
    """Return the parser of the command line."""
    parser = options.Parser(
        "export", "Export a trained network to a file for other programs, or to a page to draw digits on."
    )
    options.add_run_arguments(parser, "--output-dir")
    parser.add_argument(
        "--format",
        required=True,
        choices=list(FORMATS),
        help="safetensors, npz: arrays with their meaning; onnx: for onnxruntime and others (needs the extra onnx); "
        "paper: folder for the paper's program; html: page to draw on (required)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file to write, replaced if it exists (default: in export/ of the run folder, or saved_network-export/)",
    )
    options.add_output_flags(parser)
    return parser


def default_folder(source: Path) -> Path:
    """Make and return the folder for exports without --output, which lies beside the checkpoint."""
    folder = source.parent / "export"
    if source.is_dir():  # the paper's folder may hold nothing else
        folder = source.with_name(f"{source.name}-export")
    elif source.name != LAST:
        folder = folder / source.stem  # so that an export of `best` leaves that of `last`
    for path in (source.parent / "export", folder):
        if os.path.islink(path):  # without --output nothing is written outside of the run folder
            raise CheckpointError(f"{path} is a link; remove it, or choose a file by --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be made ({error.strerror}); choose a file by --output") from None
    return folder


def main(argv: list[str] | None = None) -> int:
    """Write the export and print its path."""
    flags = make_parser().parse(argv)
    chosen = FORMATS[flags.format]
    source, checkpoint = find_network(flags.run, flags.runs_dir, flags.output)
    content = chosen.make(checkpoint)
    path = default_folder(source) / chosen.name if flags.output is None else output_path(flags.output, source)
    if isinstance(content, dict):
        write_export_folder(path, content, is_paper_folder)
    else:
        write_export_file(path, content)
    for notice in notices(flags.format, checkpoint):
        print_stderr(notice)
    size = sum(map(len, content.values())) if isinstance(content, dict) else len(content)
    dtype = str(checkpoint.state["params"][0]["W"].dtype)
    facts = {"run": str(source), "format": flags.format, "dtype": dtype, "output": str(path), "bytes": size}
    print_result(facts if flags.json else str(path))
    return 0


def notices(format_name: str, checkpoint: Checkpoint) -> list[str]:
    """Return a sentence for each thing that the format loses."""
    lines = []
    names = checkpoint.model.class_names
    if format_name == "paper" and names != tuple(map(str, range(len(names)))):
        lines.append(
            f"The paper's files hold no class names: output 0 is {names[0]}, and so on, in the order of the run."
        )
    if format_name == "paper" and checkpoint.model.pixel_mean:
        lines.append(
            f"The paper's program does not subtract the mean {checkpoint.model.pixel_mean:.6g} from pixels as this "
            "network does: the first bias contains it, and differs from that of the run; the answers are the same."
        )
    if format_name == "onnx":
        dtype = checkpoint.state["params"][0]["W"].dtype
        result = "probabilities" if checkpoint.model.y_scaling is None else "numbers"
        lines.append(f"Input x and output {result} of the ONNX network are {dtype} arrays, a row per example.")
    if format_name == "onnx" and (imprecise := imprecise_in_float32(checkpoint)):
        name, mean, deviation = imprecise[0]
        more = f", and {len(imprecise) - 1} more," if len(imprecise) > 1 else ""
        lines.append(
            f"In float32 {name} (mean {mean:.6g}, deviation {deviation:.3g}){more} loses digits that predict.py keeps: "
            "the exported network may answer differently. To avoid that, train with --dtype float64."
        )
    return lines
