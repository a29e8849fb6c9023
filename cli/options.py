"""Command-line options that the commands share, and what they are resolved to."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from lagvis import __version__
from lagvis.backends.backend import Backend
from lagvis.backends.registry import BACKENDS, select
from lagvis.cli.errors import print_stderr
from lagvis.data.images.transposed import NO, YES
from lagvis.errors import RecipeError
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training import recipe as recipes
from lagvis.training.recipe import Recipe
from lagvis.training.recipe_checks import FIND, parse_numbers, parse_rate
from lagvis.training.recipe_hints import control_character_hint, key_hint
from lagvis.training.recipe_keys import KEYS, Key

EXIT_CODES = """exit codes:
  0 success                     4 device or backend     8 below --target-accuracy
  1 unexpected error, full      5 out of memory         129 stopped by SIGHUP
    stdout; compare: a bound    6 no finite result      130 stopped by Ctrl-C
    was exceeded                7 checkpoint, run       143 stopped by SIGTERM
  2 usage                         folder or export file
  3 data"""


COLUMN_KEYS = ("features", "drop", "category", "number", "log", "id", "weight_column")
DEVICES = "auto|cpu|cuda|cuda:N|mps|xpu|xpu:N"


class HelpFormatter(argparse.HelpFormatter):
    """Wrap the description, but keep the line breaks of a text that has them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Parser whose options take hyphens or underscores, no abbreviations, and report an error in one sentence."""

    def __init__(self, name: str, description: str) -> None:
        program = os.path.basename(sys.argv[0])
        names = {f"{name}.py": f"{name}.py", "__main__.py": f"python -m {name}"}
        super().__init__(
            prog=names.get(program, f"lagvis {name}"),
            description=description,
            epilog=EXIT_CODES,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )
        self.name = name
        self.color = False  # from Python 3.14 on the help would have control codes
        self.add_argument("--version", action="version", version=f"lagvis {__version__}")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse the arguments, by default those of the process; exit with code 2 on an error.

        The attribute `command` of the result is the command line: program and arguments.
        """
        words = list(sys.argv[1:] if argv is None else argv)
        flags, unknown = self.parse_known_args(self.with_hyphens(words))
        if unknown:
            self.error(self.unknown_message(unknown[0]))
        flags.command = [*(sys.argv[:1] if argv is None else ("lagvis", self.name)), *words]
        return flags

    def unknown_message(self, word: str) -> str:
        """Return what is wrong with a word that is no option, and no value of one."""
        if word.startswith("-"):
            return f"there is no flag {word}{self.option_hint(word.partition('=')[0])}"
        if "--data" in self.option_names() and os.path.exists(word):
            return f"{word} belongs to no option; did you mean --data {shlex.quote(word)}?"
        if word.lower() in ("true", "false"):
            return f"{word} belongs to no option; an option that is on or off takes no value: --NAME, or --no-NAME"
        return f"{word} belongs to no option; join several values of one with commas, without blanks"

    def option_hint(self, name: str) -> str:
        """Return the end of a message about an unknown option: the option that is meant; or ""."""
        known = [option.removeprefix("--") for option in self.option_names() if option.startswith("--")]
        return key_hint(name.lstrip("-"), known, prefix="--")

    def option_names(self) -> list[str]:
        """List the names of all options."""
        return [name for action in self._actions for name in action.option_strings]

    def with_hyphens(self, words: list[str]) -> list[str]:
        """Return the words with hyphens in the names of options: --batch_size=a_b becomes --batch-size=a_b.

        Values, unknown options and all words after `--` stay as they are.
        """
        known = self.option_names()
        end = words.index("--") if "--" in words else len(words)
        result = []
        for word in words[:end]:
            name, equals, value = word.partition("=")
            hyphenated = name.replace("_", "-")
            result.append(hyphenated + equals + value if hyphenated in known else word)
        return result + words[end:]

    def error(self, message: str) -> NoReturn:
        """Print one sentence on stderr and exit with code 2."""
        print_stderr(f"error: {message} ({self.prog} --help lists the options)")
        sys.exit(2)


class OldName(argparse.Action):
    """Old name of an option, accepted with one notice on stderr; `new` is its name now."""

    def __init__(self, option_strings: Sequence[str], dest: str, new: str, **options: Any) -> None:
        super().__init__(option_strings, dest, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **options)
        self.new = new
        self.reported = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, values)
        if not self.reported:
            print_stderr(f"{option} is deprecated here: it is called {self.new} now.")
        self.reported = True


def add_run_arguments(parser: Parser, *old_names: str) -> None:
    """Add RUN and --runs-dir; `old_names` of --runs-dir are accepted with a notice."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="trained network: run folder, name of a run, .safetensors file, or saved_network/ of the paper's program",
    )
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", help="folder in which RUN is looked up by name (default: runs)"
    )
    parser.add_argument(*old_names, dest="runs_dir", action=OldName, new="--runs-dir")


def add_device_flags(parser: Parser) -> None:
    """Add --device, --backend and --no-compile."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar=DEVICES,
        help="device to compute on; mps (Apple) and xpu (Intel) are for PyTorch (default: auto, a GPU if one can be "
        "used)",
    )
    parser.add_argument(
        "--backend",
        default=None,
        choices=list(BACKENDS),
        help="array library to compute with (default: numpy on cpu, cupy on cuda, else torch)",
    )
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="run step by step in Python (default: compile or record the steps where the backend can)",
    )


def add_recipe_flags(parser: Parser) -> None:
    """Add --recipe and an option for each key of a recipe; the help shows the defaults of the recipe `default`."""
    names = ", ".join(recipes.shipped())
    parser.add_argument(
        "--recipe",
        default="default",
        metavar="NAME|FILE",
        help=f"recipe to train by: {names}, or a TOML file (default: default)",
    )
    add_key_flags(parser.add_argument_group("recipe (defaults are those of the recipe `default`)"), KEYS)


def add_column_flags(parser: Parser) -> None:
    """Add the options that say what the columns of a table are; --label is explained by each command."""
    add_key_flags(parser.add_argument_group("columns of a table"), COLUMN_KEYS)


def add_key_flags(group: argparse._ArgumentGroup, names: Iterable[str]) -> None:
    """Add an option for each of some keys of a recipe."""
    default = recipes.load("default")
    for name in names:
        key, value = KEYS[name], getattr(default, name)
        shown = "none" if name == "weight_column" else shown_defaults_of_kinds(name) or shown_default(value)
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{key.help} (default: {shown})"}
        if isinstance(value, bool):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"type": parser_of(key), "metavar": key.metavar or name.upper()}
        group.add_argument(*key.spellings, f"--{name.replace('_', '-')}", dest=name, **options)


def shown_defaults_of_kinds(key: str) -> str:
    """Return the defaults of a key that optimizers or schedules take, as the help shows them; "" for another key."""
    entries: dict[str, Any] = {**OPTIMIZERS, **SCHEDULES}
    defaults = {name: entry.settings[key] for name, entry in entries.items() if key in entry.settings}
    if key == "lr":
        defaults = {name: entry.lr for name, entry in OPTIMIZERS.items()}
    takers: dict[str, list[str]] = {}
    for name, value in defaults.items():
        takers.setdefault(shown_default(value), []).append(name)
    return "; ".join(f"{value} with {', '.join(names)}" for value, names in takers.items())


def shown_default(value: Any) -> str:
    """Return the default of a recipe key as the help shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "detected" if value == "" else str(value)


def parser_of(key: Key) -> Callable[[str], Any]:
    """Return the function that parses the value of an option; its error is shown to the user."""
    kinds: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        parse_rate: "a number, or find",
        parse_numbers: "two numbers such as 0.9,0.999",
    }
    expected = kinds.get(key.parse, "layer widths such as 64,64, or none")

    def parse(word: str) -> Any:
        try:
            return key.parse(word)
        except ValueError:
            is_number = key.parse in (float, parse_rate)
            hint = f"; write {word.replace(',', '.')}" if is_number and re.fullmatch(r"-?\d+,\d+", word) else ""
            raise argparse.ArgumentTypeError(f"found {word!r}, expected {expected}{hint}") from None

    return parse


def resolve_recipe(flags: argparse.Namespace, base: Recipe | None = None, *, without_find: bool = False) -> Recipe:
    """Return the recipe that is named, or `base`, overridden by the options that are given.

    `without_find` takes another learning rate where one is to be found (`finds_rate`); else RecipeError is raised.
    """
    overrides = given_keys(flags)
    if base:
        return recipes.merge(asdict(base), overrides)
    values = recipes.read(flags.recipe or "default")
    if without_find:
        values, overrides = recipes.without_find(values), recipes.without_find(overrides)
    recipe = recipes.merge(values, overrides)
    if (hint := control_character_hint(recipe.data)) and not os.path.lexists(os.path.expanduser(recipe.data)):
        raise RecipeError(hint)
    return recipe


def finds_rate(flags: argparse.Namespace) -> bool:
    """Return whether the learning rate is to be found, by --lr or by the recipe."""
    return recipes.finds_rate(recipes.read(flags.recipe or "default"), given_keys(flags))


def given_keys(flags: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of a recipe that options set, with their values."""
    return {key: value for key, value in vars(flags).items() if key in KEYS}


def override_notices(flags: argparse.Namespace, recipe: Recipe) -> list[str]:
    """Return a line for each option that replaces other settings of the recipe, with the values that are used now."""
    values, given = recipes.read(flags.recipe or "default"), given_keys(flags)
    if finds_rate(flags):
        given["lr"] = FIND
    lines = []
    tables: dict[str, Mapping[str, Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    for kind, table in tables.items():
        before, name = values.get(kind, getattr(Recipe, kind)), getattr(recipe, kind)
        own = [*(["lr"] if kind == "optimizer" else []), *table[name].settings]
        shown = [f"{key} {shown_default(getattr(recipe, key))}" for key in own if key not in given]
        if name != before and shown:
            lines.append(
                f"The {kind} is {name} instead of the recipe's {before}, with its defaults: {', '.join(shown)}."
            )
    replaced = recipes.dropped_keys(values, given) - given.keys()
    if "lr" in replaced and recipe.optimizer == values.get("optimizer", Recipe.optimizer) and "lr" in values:
        lines.append(f"With the loss {recipe.loss} lr is {recipe.lr}, not the recipe's {values['lr']}.")
    return lines


def is_explicit(flags: argparse.Namespace, key: str) -> bool:
    """Return whether the user set a key, by an option or in a recipe file of their own."""
    name = flags.recipe or "default"
    return key in flags or (name not in recipes.shipped() and key in recipes.read(name))


def add_range_flag(parser: Parser) -> None:
    """Add --no-range-check."""
    parser.add_argument(
        "--no-range-check",
        action="store_true",
        help="take values as they are (default: convert pictures to the scale of training, e.g. 0..255 to 0..1; refuse "
        "other scales; report values far outside of what was seen in training)",
    )


def add_transpose_flag(parser: Parser, default: str) -> None:
    """Add --transpose; None without it."""
    parser.add_argument(
        "--transpose",
        choices=(YES, NO),
        help="pictures in arrays and tables are stored with rows and columns exchanged, as EMNIST's are "
        f"(default: {default})",
    )


def add_table_flags(parser: Parser) -> None:
    """Add --sheet and --table; empty without them."""
    parser.add_argument("--sheet", default="", help="sheet of a workbook, by name or number (default: the only one)")
    parser.add_argument("--table", default="", help="table of an SQLite database, or a query (default: the only one)")


def add_output_flags(parser: Parser) -> None:
    """Add --json."""
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout (default: text)"
    )


def select_backend(flags: argparse.Namespace, dtype: str) -> Backend:
    """Open the backend that the options name; print on stderr why `auto` uses no GPU, and the backend's notices."""
    backend = select(flags.device, flags.backend, dtype, not flags.no_compile)
    if not getattr(flags, "quiet", False):
        for sentence in [*filter(None, [backend.fallback]), *backend.notices]:
            print_stderr(sentence)
    return backend
