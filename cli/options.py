"""What the doors share: flags, and what becomes of them."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

from lagvis import __version__
from lagvis.backends.backend import Backend
from lagvis.backends.registry import BACKENDS, select
from lagvis.cli.errors import print_stderr
from lagvis.training import recipe as recipes
from lagvis.training.recipe import KEYS, Recipe, did_you_mean

EXIT_CODES = """exit codes:
  0 done                    5 out of memory             8 --target-accuracy missed
  1 unexpected, or compare  6 the loss diverged         130 after Ctrl-C and saving
  2 usage                   7 checkpoint or run folder  143 after SIGTERM and saving
  3 data                    4 device"""


class Parser(argparse.ArgumentParser):
    """Flags with hyphens or underscores, never abbreviated; every default in the help; a sentence for a mistake."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            epilog=EXIT_CODES,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--version", action="version", version=f"lagvis {__version__}")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """The flags of a command line; exits with 2 where one cannot be meant."""
        words = [normalize_option(word) for word in (sys.argv[1:] if argv is None else argv)]
        flags, unknown = self.parse_known_args(words)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            self.error(f"there is no flag {unknown[0]}{did_you_mean(unknown[0].partition('=')[0], known)}")
        return flags

    def error(self, message: str) -> NoReturn:
        """One sentence on stderr, exit code 2."""
        print_stderr(f"error: {message} ({self.prog} --help lists what there is)")
        sys.exit(2)


def normalize_option(word: str) -> str:
    """--batch_size=3 as --batch-size=3; a value keeps its underscores."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def add_device_flags(parser: Parser) -> None:
    """--device, --backend, --no-compile."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="where to compute (default: auto: a GPU if one computes)",
    )
    parser.add_argument(
        "--backend",
        default=None,
        choices=list(BACKENDS),
        help="array library (default: numpy on cpu, cupy on cuda)",
    )
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="take the plain loop on every backend (default: compile where it pays)",
    )


def add_recipe_flags(parser: Parser) -> None:
    """--recipe, and a flag for every key of a recipe; the defaults in the help are those of the recipe `default`."""
    names = ", ".join(recipes.shipped())
    parser.add_argument(
        "--recipe", default="default", metavar="NAME|FILE", help=f"{names}, or a TOML file (default: default)"
    )
    group = parser.add_argument_group("recipe, with the defaults of the recipe `default`")
    default = recipes.load("default")
    for name, key in KEYS.items():
        value = getattr(default, name)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else "found" if value == "" else value
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{key.help} (default: {shown})"}
        if isinstance(value, bool):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"type": parser_of(key), "metavar": key.metavar or name.upper()}
        group.add_argument(*key.spellings, f"--{name.replace('_', '-')}", dest=name, **options)


def parser_of(key: recipes.Key) -> Callable[[str], Any]:
    """What reads a flag's word; argparse tells the user what it raises."""
    kinds: dict[Any, str] = {int: "a whole number", float: "a number"}
    expected = kinds.get(key.parse, "widths such as 64,64, or none")

    def parse(word: str) -> Any:
        try:
            return key.parse(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} found, {expected} expected") from None

    return parse


def resolve_recipe(flags: argparse.Namespace, base: Recipe | None = None) -> Recipe:
    """The recipe that was named, or `base`, with the flags that were given over it."""
    overrides = {key: value for key, value in vars(flags).items() if key in KEYS}
    return recipes.merge(asdict(base), overrides) if base else recipes.load(flags.recipe or "default", overrides)


def is_explicit(flags: argparse.Namespace, key: str) -> bool:
    """Whether the user has set a key, by a flag or in a recipe of their own, and not a recipe that ships."""
    name = flags.recipe or "default"
    return key in flags or (name not in recipes.shipped() and key in recipes.read(name))


def add_output_flags(parser: Parser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, alone (default: text)")


def select_backend(flags: argparse.Namespace, dtype: str) -> Backend:
    """The backend that the flags ask for, with a line on stderr where auto had to do without a GPU."""
    backend = select(flags.device, flags.backend, dtype, not flags.no_compile)
    if backend.fallback and not getattr(flags, "quiet", False):
        print_stderr(backend.fallback)
    return backend
