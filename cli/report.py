"""Show runs side by side: python -m report RUN RUN ..."""

import os
import sys
from pathlib import Path

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr, terminal_width
from lagvis.cli.output_path import output_path
from lagvis.report.html.document import to_html
from lagvis.report.runs_report import compare_runs, draw_runs, runs_blocks, runs_text
from lagvis.storage.atomic import write_export_file
from lagvis.storage.lookup import find_run, run_paths
from lagvis.storage.run_record import read_run_record

NAME = "report"  # of the page and the picture, without suffix
SUFFIXES = (".html", ".png")


def make_parser() -> options.Parser:
    """Return the parser of `lagvis report`."""
    parser = options.Parser(
        "report", "Show runs side by side: the settings that differ, the results, and the curves in one picture."
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN",
        help="run folder, name of a run, or .safetensors file of a run; finished or not (default: the newest run)",
    )  # fmt: skip
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", help="folder in which RUN is looked up by name (default: runs)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help=f"page to write, NAME.html, with the picture NAME.png beside it; or a folder (default: {NAME}.html in the "
        "folder that holds the first RUN)",
    )  # fmt: skip
    parser.add_argument("--no-plots", action="store_true", help="write no page and no picture (default: write both)")
    options.add_output_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print settings and results of the runs, and write the page and the picture."""
    flags = make_parser().parse(argv)
    folders = dict.fromkeys(find_run_folder(run, flags.runs_dir) for run in flags.runs or [""])
    report = compare_runs([read_run_record(folder) for folder in folders])
    page, picture = output_files(flags.output, next(iter(folders)))
    if not flags.no_plots:
        png = draw_runs(report)
        write_export_file(picture, png)
        write_export_file(page, to_html(*runs_blocks(report, png, picture.name)).encode())
    for notice in report.notices:
        print_stderr(notice)
    written = None if flags.no_plots else str(page)
    if flags.json:
        runs = [
            result | {"settings": {key: values[i] for key, values in report.settings.items()}}
            for i, result in enumerate(report.results)
        ]
        facts = {"runs": runs, "caveats": report.caveats, "page": written}
        print_result(facts | {"picture": None if flags.no_plots else str(picture)})
        return 0
    print_result(runs_text(report, terminal_width(sys.stdout)))
    if written:
        print_result(f"\ncurves  {picture}\npage    {page}")
    return 0


def find_run_folder(run: str, runs_dir: str) -> Path:
    """Return the run folder that RUN names, also by a .safetensors file in it; CheckpointError if there is none."""
    if run:
        for path in run_paths(run, runs_dir):
            if path.suffix == ".safetensors" and os.path.isfile(path):
                return path.parent
    return find_run(run, runs_dir)


def output_files(output: str | None, first: Path) -> tuple[Path, Path]:
    """Return the paths of the page and the picture; CheckpointError if one of them belongs to a run."""
    if output is None:
        base = first.parent / NAME
    else:
        base = Path(os.path.abspath(os.path.expanduser(output)))
        if os.path.isdir(base):
            base /= NAME
        elif base.suffix in SUFFIXES:
            base = base.with_suffix("")
    page, picture = (base.with_name(base.name + suffix) for suffix in SUFFIXES)
    return output_path(str(page), first), output_path(str(picture), first)
