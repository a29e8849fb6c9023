"""Describe a data set without training: python -m data PATH."""

from lagvis.cli import options
from lagvis.cli.errors import print_result
from lagvis.data.datasets import locate
from lagvis.data.describe import describe_dataset, load_classes_or_numbers
from lagvis.data.detect import detect_format
from lagvis.data.images.transposed import BY_NAME
from lagvis.data.tables.feature_type import AUTO, FEATURE_TYPES
from lagvis.network.losses import LABEL_LOSSES, LOSSES, REGRESSION_LOSSES
from lagvis.report.terminal.dataset_summary import dataset_summary
from lagvis.training.recipe_keys import KEYS


def make_parser() -> options.Parser:
    """Return the parser of `lagvis data`."""
    parser = options.Parser("data", "Describe a file or folder as train.py would read it, without training.")
    parser.add_argument("path", metavar="PATH", help="as --data of train.py takes it: mnist, jump, or a path")
    parser.add_argument("--label", default="", metavar="COLUMN", help="label column of a table (default: detect)")
    parser.add_argument(
        "--feature-type",
        default=AUTO,
        choices=FEATURE_TYPES,
        help="feature columns of a table: pixels of a square picture, or numbers (default: auto: detect)",
    )
    parser.add_argument(
        "--regression",
        action="store_true",
        help="read numbers to predict, as for --loss mse, mae and huber (default: classes)",
    )
    parser.add_argument(
        "--loss",
        default="cross-entropy",
        choices=tuple(LOSSES),
        help="binary-cross-entropy: labels of which a row may have several; mse, mae and huber: as --regression "
        "(default: classes)",
    )
    options.add_table_flags(parser)
    options.add_transpose_flag(parser, "those of EMNIST, by the name")
    options.add_column_flags(parser)
    options.add_output_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the facts about one data set."""
    flags = make_parser().parse(argv)
    dataset = load_classes_or_numbers(
        flags.path,
        regression=flags.regression or flags.loss in REGRESSION_LOSSES,
        multi_label=flags.loss in LABEL_LOSSES,
        label=flags.label,
        feature_type=flags.feature_type,
        sheet=flags.sheet,
        table=flags.table,
        transpose=flags.transpose or BY_NAME,
        **{key: KEYS[key].check(key, getattr(flags, key)) for key in options.COLUMN_KEYS if key in flags},
    )
    path = locate(flags.path)
    facts = {"path": str(path), "kind": detect_format(path).kind, **describe_dataset(dataset)}
    print_result(facts if flags.json else dataset_summary(facts))
    return 0
