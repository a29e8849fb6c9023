"""Figures as PNG bytes: matplotlib is imported here alone and late, and is left as the user has set it."""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lagvis.errors import DrawingError

# Okabe and Ito's colours, which are distinct for every kind of colour vision.
TRAIN, VALIDATION, WRONG, NEUTRAL = "#0072B2", "#D55E00", "#D55E00", "#56B4E9"
GREY = "#666666"
DPI = 120
MAX_LABEL_LENGTH = 18  # characters
MIN_LEFT_MARGIN = 0.7  # inches
STYLE = {
    "text.parse_math": False,  # a dollar sign in a name is no formula
    "font.family": ["DejaVu Sans"],  # ships with matplotlib
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it stands anyway: to look for ticks above the axes takes a tenth of the drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A figure that is not drawn yet: the function that makes it, with its arguments and options."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def draw(self) -> bytes:
        """Return the figure as a PNG file in the style of the report; DrawingError without matplotlib."""
        return draw_png(self.function, *self.arguments, **self.options)


def draw_png(plot: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    """Return the figure that `plot(*arguments, **options)` makes, as a PNG file in the style of the report.

    Raises DrawingError if matplotlib cannot be imported.
    """
    with plot_style():
        return png_bytes(plot(*arguments, **options))


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """Draw in the style of the report, without warnings of matplotlib; afterwards all settings are as before.

    Raises DrawingError if matplotlib cannot be imported.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it warns when it has to use a temporary folder for its cache
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib = import_matplotlib()
            with matplotlib.rc_context():  # restores all settings but the backend, which is not touched here
                matplotlib.rcdefaults()
                matplotlib.rcParams.update(STYLE)
                yield
    finally:
        logger.setLevel(level)


def import_matplotlib() -> Any:
    """Return matplotlib; DrawingError if it cannot be imported, which a misspelled MPLBACKEND causes too."""
    try:
        import matplotlib
    except Exception as error:
        raise DrawingError(
            f"no pictures are drawn because matplotlib cannot be imported ({error}); reinstall it, "
            "or use --no-plots; nothing else is lost"
        ) from None
    return matplotlib


def new_figure(
    width: float, height: float, *, left: float = 0.7, right: float = 0.25, bottom: float = 0.5, top: float = 0.35
) -> Any:
    """Return an empty figure with its margins, all in inches.

    The margins are fixed because an automatic layout draws everything twice. pyplot is not used, so no figure is
    registered and no window can open.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    return figure


def text_width(lines: list[str], size: float = 9.0) -> float:
    """Return the width in inches of the widest line in letters of `size` points."""
    font = load_font()
    font.set_size(size, DPI)
    widest = 0
    for line in "\n".join(lines).split("\n"):
        font.set_text(line)
        widest = max(widest, font.get_width_height()[0])
    return widest / 64 / DPI  # FreeType counts in 64ths of a pixel


def load_font() -> Any:
    """Return the font of all figures."""
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans"))


def left_margin(axes: Any) -> float:
    """Return the inches that the tick labels and the label of the vertical axis need, at least MIN_LEFT_MARGIN."""
    return max(MIN_LEFT_MARGIN, 0.4 + text_width([label.get_text() for label in axes.get_yticklabels()]))


def blank_figure(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure, and axes that cover it, whose units are inches from the upper left corner."""
    figure = new_figure(width, height)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    axes.set_autoscale_on(False)
    return figure, axes


def png_bytes(figure: Any) -> bytes:
    """Return a figure as a PNG file without date and version, so that equal figures are equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    return file.getvalue()


def axis_labels(names: Sequence[str], max_length: int = MAX_LABEL_LENGTH, fallbacks: Sequence[str] = ()) -> list[str]:
    """Return names as axis labels: cut to `max_length` characters, and all different.

    The fallback stands for a name with a character that the font lacks, and for a cut name that equals another one. By
    default it is the number of the class, as in the table of the classes.
    """
    font = load_font()
    cut = shorten_names(names, max_length)
    counts = Counter(cut)
    labels = []
    for i, name in enumerate(names):
        missing = any(font.get_char_index(ord(character)) == 0 for character in name)
        ambiguous = cut[i] != name and counts[cut[i]] > 1
        fallback = fallbacks[i] if fallbacks else f"no. {i}"
        labels.append(fallback if missing or ambiguous else cut[i])
    return labels


def shorten_names(names: Sequence[str], max_length: int) -> list[str]:
    """Return names of at most `max_length` characters, all cut in the first way that keeps them different.

    The ways: cut the end, the middle, the start, or all but what follows the prefix that the names share.
    """
    half, ends = max_length // 2, zip(min(names, default=""), max(names, default=""), strict=False)
    prefix = next((i for i, (one, other) in enumerate(ends) if one != other), 0)
    ways: tuple[Callable[[str], str], ...] = (
        lambda name: name[: max_length - 1] + "…",
        lambda name: name[: max_length - half] + "…" + name[1 - half :],
        lambda name: "…" + name[1 - max_length :],
        lambda name: "…" + name[prefix:][: max_length - 2] + "…",
    )
    cut: list[str] = []
    for way in ways:
        cut = [name if len(name) <= max_length else way(name) for name in names]
        if len(set(cut)) == len(set(names)):
            break
    return cut
