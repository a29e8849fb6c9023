"""Drawing with matplotlib: imported here alone and late, the same whatever the user's settings, and as PNG bytes."""

import contextlib
import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Okabe and Ito's colours, told apart with any eyes: of training, validation, what is wrong, and what is in between.
TRAIN, VALIDATION, WRONG, BETWEEN = "#0072B2", "#D55E00", "#D55E00", "#56B4E9"
QUIET = "#666666"
DPI = 120
LONGEST_NAME = 18
STYLE = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}


class DrawingError(Exception):
    """Pictures cannot be drawn at all."""

    exit_code = 1


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """While open, figures are drawn in our style, and nothing is said of fonts and folders.

    DrawingError where matplotlib cannot be imported.
    """
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)  # it makes do with a temporary folder, and tells so
    os.environ["MPLBACKEND"] = "agg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import matplotlib as mpl
        except Exception as error:
            raise DrawingError(
                f"there are no pictures, for matplotlib cannot be imported ({error}); "
                "install it anew, or do without by --no-plots; nothing else is lost"
            ) from None
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            yield


def new_figure(
    width: float, height: float, *, left: float = 0.7, right: float = 0.25, bottom: float = 0.5, top: float = 0.35
) -> Any:
    """An empty figure of so many inches, with its margins; a layout that finds them itself draws everything twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(made)
    made.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    return made


def room(names: list[str], size: float = 9.0) -> float:
    """Inches that the widest of the names takes in letters of so many points."""
    font = letters()
    font.set_size(size, DPI)
    widest = 0
    for line in "\n".join(names).split("\n"):
        font.set_text(line)
        widest = max(widest, font.get_width_height()[0])
    return widest / 64 / DPI  # FreeType counts in 64ths of a pixel


def letters() -> Any:
    """The font of every picture."""
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans"))


def left_of(axes: Any) -> float:
    """Inches for the numbers and the title of a vertical axis at the left edge of a figure, at least the usual."""
    return max(0.7, 0.4 + room([label.get_text() for label in axes.get_yticklabels()]))


def blank_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure, and axes that cover it, whose units are inches from its upper left corner."""
    made = new_figure(width, height)
    axes = made.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    axes.set_autoscale_on(False)
    return made, axes


def png_bytes(made: Any) -> bytes:
    """The picture as a file, with nothing in it of when and by what it was made."""
    file = io.BytesIO()
    made.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    return file.getvalue()


def axis_labels(names: Sequence[str], longest: int = LONGEST_NAME, instead: Sequence[str] = ()) -> list[str]:
    """Names as the font can show them: cut where they are long, and `instead` of one with a letter that it lacks.

    By default the number of a class, as the table of the classes has it; it also stands for a name that no cut tells
    from another.
    """
    font = letters()
    cut = shorten_names(names, longest)
    often = Counter(cut)
    return [
        (instead[i] if instead else f"no. {i}")
        if any(font.get_char_index(ord(c)) == 0 for c in name) or (cut[i] != name and often[cut[i]] > 1)
        else cut[i]
        for i, name in enumerate(names)
    ]


def shorten_names(names: Sequence[str], longest: int) -> list[str]:
    """Names of at most so many letters, all cut in the same way: one that leaves them different, if there is one.

    At the end, else in the middle, at the start, or to what follows the beginning that they share.
    """
    half, ends = longest // 2, zip(min(names, default=""), max(names, default=""), strict=False)
    shared = next((i for i, (one, other) in enumerate(ends) if one != other), 0)
    ways: tuple[Callable[[str], str], ...] = (
        lambda name: name[: longest - 1] + "…",
        lambda name: name[: longest - half] + "…" + name[1 - half :],
        lambda name: "…" + name[1 - longest :],
        lambda name: "…" + name[shared:][: longest - 2] + "…",
    )
    cut: list[str] = []
    for way in ways:
        cut = [name if len(name) <= longest else way(name) for name in names]
        if len(set(cut)) == len(set(names)):
            break
    return cut
