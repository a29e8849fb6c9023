"""Export a trained network to another format: python export.py RUN --format safetensors|npz|onnx|paper|html."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.cli.output_path import find_network, output_path
from lagvis.errors import CheckpointError, ExportError
from lagvis.formats.export_formats import FORMATS
from lagvis.formats.onnx_columns import ColumnInput
from lagvis.formats.onnx_model import AUTO, ONNX_INPUTS, has_columns, imprecise_in_float32, onnx_bytes, onnx_columns
from lagvis.formats.paper import is_paper_folder
from lagvis.storage.atomic import write_export_file, write_export_folder
from lagvis.storage.filenames import LAST
from lagvis.training.checkpoint import Checkpoint


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
        "--onnx-inputs",
        choices=ONNX_INPUTS,
        default=AUTO,
        help="inputs of an ONNX network: columns: one for each column of the table, encoded in the graph; matrix: one "
        "of rows of numbers; auto: columns for a table that holds more than numbers (default: auto)",
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
    if flags.format != "onnx" and flags.onnx_inputs != AUTO:
        raise ExportError(f"--onnx-inputs {flags.onnx_inputs} needs --format onnx, found --format {flags.format}")
    source, checkpoint = find_network(flags.run, flags.runs_dir, flags.output)
    make = chosen.make if flags.onnx_inputs == AUTO else partial(onnx_bytes, inputs=flags.onnx_inputs)
    content = make(checkpoint)
    path = default_folder(source) / chosen.name if flags.output is None else output_path(flags.output, source)
    if isinstance(content, dict):
        write_export_folder(path, content, is_paper_folder)
    else:
        write_export_file(path, content)
    for notice in notices(flags.format, checkpoint, flags.onnx_inputs):
        print_stderr(notice)
    size = sum(map(len, content.values())) if isinstance(content, dict) else len(content)
    dtype = str(checkpoint.dtype)
    facts = {"run": str(source), "format": flags.format, "dtype": dtype, "output": str(path), "bytes": size}
    print_result(facts if flags.json else str(path))
    return 0


def notices(format_name: str, checkpoint: Checkpoint, onnx_inputs: str) -> list[str]:
    """Return a sentence for each thing that the format loses, and about the inputs and outputs of an ONNX network."""
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
        lines += onnx_notices(checkpoint, onnx_inputs)
    return lines


def onnx_notices(checkpoint: Checkpoint, inputs: str) -> list[str]:
    """Return sentences about inputs, outputs and precision of an ONNX network."""
    model, dtype = checkpoint.model, checkpoint.dtype
    columns = onnx_columns(model, inputs)
    outputs = f"probabilities ({dtype}) and label"
    if model.y_scaling is not None:
        outputs = f"numbers ({'double' if columns else dtype})"
    if columns:
        return [columns_notice(columns, outputs), *renamed_notice(columns)]
    lines = [f"The ONNX network takes {dtype} arrays x, a row per example, and returns {outputs}."]
    if imprecise := imprecise_in_float32(checkpoint):
        name, mean, deviation = imprecise[0]
        more = f", and {len(imprecise) - 1} more," if len(imprecise) > 1 else ""
        lines.append(
            f"In float32 {name} (mean {mean:.6g}, deviation {deviation:.3g}){more} loses digits that predict.py keeps: "
            "the exported network may answer differently. To avoid that, "
            f"{'export with --onnx-inputs columns, or ' * has_columns(model)}train with --dtype float64."
        )
    return lines


def columns_notice(columns: Sequence[ColumnInput], outputs: str) -> str:
    """Return a sentence about inputs for columns."""
    texts = sum(column.is_text for column in columns)
    counts = ((len(columns) - texts, "double (NaN for a missing cell)"), (texts, "string (empty for a missing cell)"))
    types = " and ".join(f"{count} {kind}" for count, kind in counts if count)
    return f"The ONNX network takes an array (N, 1) for each column, {types}, and returns {outputs}."


def renamed_notice(columns: Sequence[ColumnInput]) -> list[str]:
    """Return a sentence about inputs that have another name than their column; none where there are none."""
    renamed = [f"{column.name!r} for {column.column.name!r}" for column in columns if column.name != column.column.name]
    if not renamed:
        return []
    more = f", and {len(renamed) - 1} more" if len(renamed) > 1 else ""
    return [f"An input has another name than its column where that is taken: {renamed[0]}{more} (in the metadata)."]
