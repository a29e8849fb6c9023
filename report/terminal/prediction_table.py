"""Format predictions as a table, a row a line, and draw pictures with characters."""

from collections.abc import Sequence
from textwrap import fill, indent
from typing import Any

import numpy as np

from lagvis.data.messages import percent
from lagvis.report.text import align_columns, display_name, escape_control

BLOCK_SHADES, ASCII_SHADES = " ░▒▓█", " .:*@"
MAX_FILE_WIDTH, MIN_FILE_WIDTH = 60, 16  # characters of the column of files
MIN_NOTE_WIDTH = 16


def predictions_text(predictions: Sequence[dict[str, Any]], width: int | None = None) -> str:
    """Return the predictions of predict.py as an aligned table: classes or labels with their probabilities, or numbers.

    In `width` columns, notes that do not fit stand below their row, and long names of files are cut further. A table
    that is wider all the same becomes a list, a value a line.
    """
    targets = list(predictions[0]["values"] or ()) if predictions else []
    labelled = any(prediction["label"] is not None for prediction in predictions)
    of_labels = next((prediction for prediction in predictions if prediction["labels"] is not None), None)
    cells = [label_heads(list(of_labels["probabilities"]), labelled) if of_labels else header_cells(targets, labelled)]
    cells += [
        value_cells(prediction) + (label_cells(prediction, targets) if labelled else []) for prediction in predictions
    ]
    values_width = max(map(len, align_columns([("", *row) for row in cells]).split("\n")))
    file_width = MAX_FILE_WIDTH if width is None else min(max(width - values_width, MIN_FILE_WIDTH), MAX_FILE_WIDTH)
    files = ["file", *(row_name(prediction["file"], prediction["row"], file_width) for prediction in predictions)]
    lines = align_columns([(file, *row) for file, row in zip(files, cells, strict=True)]).split("\n")
    notes = ["", *(", ".join(prediction["notes"]) for prediction in predictions)]
    if width is not None and max(map(len, lines)) > width:
        return list_text(predictions, cells, notes[1:], width)
    return place_notes(lines, notes, width)


def list_text(predictions: Sequence[dict[str, Any]], cells: list[list[str]], notes: list[str], width: int) -> str:
    """Return each row as its file and, below it, a line for each head (`cells[0]`) with its value, then the notes."""
    parts: list[str] = []
    for prediction, row, note in zip(predictions, cells[1:], notes, strict=True):
        row_number = "" if prediction["row"] is None else f", row {prediction['row']:,}"
        file_width = min(max(width - len(row_number), MIN_FILE_WIDTH), MAX_FILE_WIDTH)
        parts.append(row_name(prediction["file"], prediction["row"], file_width))
        parts.append(indent(align_columns([pair for pair in zip(cells[0], row, strict=True) if pair[1]], left=2), "  "))
        if note:
            parts.append(indent(fill(note, max(MIN_NOTE_WIDTH, width - 3)), "  "))
    return "\n".join(parts)


def header_cells(targets: list[str], labelled: bool) -> list[str]:
    """Return the heads of the columns after the file."""
    names = [display_name(name) for name in targets]
    heads = list(names) if targets else ["answer", "probability", "runner-up", "probability"]
    if labelled:
        heads += [f"true {name}" for name in names] if len(names) > 1 else ["true"]
    return heads


def label_heads(names: list[str], labelled: bool) -> list[str]:
    """Return the heads of the columns after the file for labels of which a row may have several."""
    return ["labels", *map(display_name, names), *(["true"] if labelled else [])]


def labels_text(names: Sequence[str]) -> str:
    """Return the labels of a row, separated by commas; "none" for a row without any."""
    return ", ".join(map(display_name, names)) or "none"


def value_cells(prediction: dict[str, Any]) -> list[str]:
    """Return the predicted numbers with their unit, or class, probability and runner-up; dashes for a blank picture.

    Of several labels, those of the row and the probability of each.
    """
    if prediction["labels"] is not None:
        return [labels_text(prediction["labels"]), *map(percent, prediction["probabilities"].values())]
    if prediction["values"] is not None:
        return [number_text(value, prediction["unit"]) for value in prediction["values"].values()]
    pairs = (
        (prediction["answer"], prediction["probability"]),
        (prediction["runner_up"], prediction["runner_up_probability"]),
    )
    return [
        cell
        for name, probability in pairs
        for cell in (("-", "-") if name is None else (display_name(name), percent(probability)))
    ]


def label_cells(prediction: dict[str, Any], targets: list[str]) -> list[str]:
    """Return the label of a row, a class or a number for each target; empty cells for a row without one."""
    label = prediction["label"]
    if label is None:
        return [""] * max(1, len(targets))
    if isinstance(label, dict) and prediction["values"] is None:
        return [labels_text([name for name, value in label.items() if value])]
    if isinstance(label, dict):
        return [number_text(value, prediction["unit"]) for value in label.values()]
    return [display_name(label)]


def number_text(value: float, unit: str | None) -> str:
    """Return a number in six digits, with its unit if it has one."""
    return f"{value:.6g} {unit}" if unit else f"{value:.6g}"


def place_notes(lines: list[str], notes: list[str], width: int | None) -> str:
    """Return lines with their notes beside them, or below where one would not fit into `width`."""
    widest = max(map(len, lines))
    if width is not None and widest + 2 + max(map(len, notes)) > width:
        below = [indent(fill(note, max(MIN_NOTE_WIDTH, width - 3)), "  ") for note in notes]
        return "\n".join(part for pair in zip(lines, below, strict=True) for part in pair if part)
    return "\n".join(f"{line:{widest}}  {note}".rstrip() for line, note in zip(lines, notes, strict=True))


def row_name(file: str, row: int | None, max_width: int = MAX_FILE_WIDTH) -> str:
    """Return the file, cut at its start to `max_width`, and the row in it from 1; control characters are escaped."""
    name = escape_control(file)
    name = name if len(name) <= max_width else "..." + name[3 - max_width :]
    return name if row is None else f"{name}, row {row:,}"


def draw_image(image: np.ndarray, *, width: int, encoding: str) -> str:
    """Draw an image (H, W) uint8 in shades, two characters a pixel where `width` has room for it."""
    try:
        BLOCK_SHADES.encode(encoding)
        shades = BLOCK_SHADES
    except UnicodeEncodeError:
        shades = ASCII_SHADES
    pixels_per_cell = -(-image.shape[1] // max(1, width))
    rows, cols = (np.arange(0, side, pixels_per_cell) for side in image.shape)
    cells = np.maximum.reduceat(np.maximum.reduceat(image, rows, axis=0), cols, axis=1)
    levels = (cells.astype(int) * len(shades)) // 256
    characters = 2 if 2 * cells.shape[1] <= width else 1
    return "\n".join("".join(shades[level] * characters for level in row).rstrip() for row in levels)
