"""What a network says of what it was given: a line a row, and pictures drawn with characters."""

from collections.abc import Sequence
from textwrap import fill, indent
from typing import Any

import numpy as np

from lagvis.data.messages import percent
from lagvis.report.text import align_columns, display_name, escape_control

BLOCKS, PLAIN = " ░▒▓█", " .:*@"
WIDEST_FILE, LEAST_FILE = 60, 16


def predictions_text(predictions: Sequence[dict[str, Any]], width: int | None = None) -> str:
    """The predictions of predict.py as an aligned table: answers with their probabilities, or numbers.

    In `width` columns notes that have no room stand below their row, and long names of files are cut further.
    """
    shown = [dict(p) for p in predictions]
    numbers = [name for p in shown[:1] for name in p.get("values", ())]
    heads = [*map(display_name, numbers)] if numbers else ["answer", "probability", "runner-up", "probability"]
    labelled = any("label" in p for p in shown)
    if labelled:
        heads += [f"true {display_name(name)}" for name in numbers] if len(numbers) > 1 else ["true"]
    rows = [("", *heads)]
    for p in shown:
        cells = [f"{value:.6g}{unit_of(p)}" for value in p["values"].values()] if numbers else answer_cells(p)
        if labelled:
            label = p.get("label") or ""
            cells += (
                [f"{v:.6g}{unit_of(p)}" for v in label.values()] if isinstance(label, dict) else [display_name(label)]
            )
            cells += [""] * (len(heads) - len(cells))
        rows.append(("", *cells))
    room = (
        WIDEST_FILE
        if width is None
        else max(LEAST_FILE, min(WIDEST_FILE, width - max(map(len, align_columns(rows).split("\n")))))
    )
    files = ["file", *(row_name(p["file"], p["row"], room) for p in shown)]
    lines = align_columns([(file, *cells) for file, (_, *cells) in zip(files, rows, strict=True)]).split("\n")
    notes = ["", *(", ".join(p["notes"]) for p in shown)]
    widest = max(map(len, lines))
    if width is not None and max(len(note) for note in notes) + widest + 2 > width:
        below = [indent(fill(note, max(LEAST_FILE, width - 3)), "  ") for note in notes]
        return "\n".join(part for pair in zip(lines, below, strict=True) for part in pair if part)
    return "\n".join(f"{line:{widest}}  {note}".rstrip() for line, note in zip(lines, notes, strict=True))


def answer_cells(p: dict[str, Any]) -> list[str]:
    """Answer, probability, runner-up and its probability; dashes where nothing was to be seen."""
    pairs = ((p["answer"], p["probability"]), (p["runner_up"], p["runner_up_probability"]))
    return [
        cell for name, value in pairs for cell in (("-", "-") if name is None else (display_name(name), percent(value)))
    ]


def unit_of(p: dict[str, Any]) -> str:
    """What stands behind a number."""
    return f" {p['unit']}" if p["unit"] else ""


def row_name(file: str, row: int | None, room: int = WIDEST_FILE) -> str:
    """The file, its end where it is longer than `room`, and the row in it, without what would steer a terminal."""
    name = escape_control(file)
    name = name if len(name) <= room else "..." + name[3 - room :]
    return name if row is None else f"{name}, row {row:,}"


def draw_image(picture: np.ndarray, *, width: int, encoding: str) -> str:
    """A picture (H, W) uint8 in shades, two characters a pixel where `width` has room for it."""
    try:
        BLOCKS.encode(encoding)
        shades = BLOCKS
    except UnicodeEncodeError:
        shades = PLAIN
    k = -(-picture.shape[1] // max(1, width))
    rows, cols = (np.arange(0, side, k) for side in picture.shape)
    cells = np.maximum.reduceat(np.maximum.reduceat(picture, rows, axis=0), cols, axis=1)
    levels = (cells.astype(int) * len(shades)) // 256
    times = 2 if 2 * cells.shape[1] <= width else 1
    return "\n".join("".join(shades[level] * times for level in row).rstrip() for row in levels)
