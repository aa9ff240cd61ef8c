"""Read somebody's own training log, whatever its columns are called."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.results.columns import ACCURACIES, ACCURACY_WORDS, COLUMNS, QUANTITIES, RATES
from ralr_viz.results.run import RunRecord, are_shares

_MISSING = {"", "nan", "none", "null", "na", "n/a", "-", "--"}
_PLAIN_ACCURACY = "acc"  # a name that does not tell the split
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval", "dev"),
    "test": ("test",),
}


def _known_names() -> dict[str, str]:
    """Column name, in lower case and only its letters and digits → quantity."""
    names = {"epoch": "epoch", "epochs": "epoch"}
    names |= dict.fromkeys(ACCURACY_WORDS, _PLAIN_ACCURACY)
    for column in COLUMNS:
        names |= dict.fromkeys(column.aliases, column.name)
        pairs = [(a, b) for a in _SPLIT_WORDS.get(column.split, ()) for b in column.words]
        for name in (form for a, b in pairs for form in (a + b, b + a)):
            names |= {name: column.name, f"{name}epoch": column.name}  # Lightning adds `_epoch`
    return names


_NAMES = _known_names()
_RATE_NAME = re.compile(r"lr-[A-Za-z]+(-\d+)?(/pg\d+)?|lr/pg\d+", re.IGNORECASE)  # Lightning's, Ultralytics'
_TRAINING = tuple(column.name for column in COLUMNS if column.whole_epoch)
"""Quantities of the epoch as a whole: logged batch by batch, their mean is the epoch's."""
_TELLING = re.compile(r"acc|top-?\d|prec|score|loss", re.IGNORECASE)
"""Column names that a reader may expect to see drawn."""


def load_log_csv(path: Path, columns: Mapping[str, str] | None = None) -> RunRecord:
    """Read a CSV of one run, one epoch a line.

    Columns are recognised in any case and spelling: ``epoch``, ``lr`` or ``Learning Rate``, ``loss``,
    ``train_loss``, ``val_loss``, ``val_acc``, ``valid/top1``, ``Test accuracy (%)``, … A bare ``acc`` is the
    training accuracy if the log names a validation or test accuracy as well (as Keras does), else the
    validation accuracy. Lines of the same epoch are merged (Lightning writes two or more): of a training loss,
    training accuracy or learning rate that was logged several times in an epoch the mean is taken, of anything
    else the last value. A line without an epoch that holds learning rates at most (Lightning's
    LearningRateMonitor) belongs to the next line's. Where the epochs go back and are logged again, the training was
    restarted, and the later lines count. Epochs that start at 0 are counted from 1; without an ``epoch`` column
    the lines are counted. Accuracies that are all <= 1 are shares and turned into per cent. What was assumed,
    and which column that looks like a loss or accuracy was not used, is in the record's ``notes``.

    Args:
        path: File in UTF-8 with a header, separated by comma, semicolon or tab.
        columns: Quantity → the file's column, where the name is not recognised: ``{"val_acc": "score"}``.

    Returns:
        The record; its method is the file's name without suffix.

    Raises:
        InputError: Missing or unreadable file, no known column, or a bad value, with its line and column.
        UnknownNameError: ``columns`` names a quantity or a column that does not exist.
    """
    path = Path(path)
    header, lines = _read_table(path)
    chosen, notes = _choose_columns(path, header, columns or {})
    table = {
        quantity: [_parse_cell(path, line, header[i], row[i], quantity) for line, row in lines]
        for quantity, i in chosen.items()
    }
    measured = {quantity: np.array(values) for quantity, values in table.items()}
    if "epoch" in measured:
        epoch, kept = _read_epochs(path, lines, measured.pop("epoch"), measured)
        measured = {quantity: values[kept] for quantity, values in measured.items()}
        first = epoch.min()
        epoch, measured = _drop_restarted(epoch, measured, notes, offset=int(first == 0))
        if first == 0:
            epoch = epoch + 1
            notes.append("epochs are counted from 0 in the file, from 1 here")
    else:
        epoch = np.arange(1, len(lines) + 1)
        notes.append("no `epoch` column: each line is an epoch")
    epochs, metrics = _merge_epochs(epoch, measured, notes)
    accuracies = [metrics[quantity] for quantity in ACCURACIES if quantity in metrics]
    if are_shares(accuracies):
        for shares in accuracies:
            shares *= 100
        notes.append("no accuracy is above 1: taken as shares and turned into per cent")
    return RunRecord("", path.stem, None, epochs, metrics, notes=tuple(notes), path=path)


def recognise_column(name: str) -> str | None:
    """The quantity that a column's name means, ``"acc"`` for an accuracy of no named split, else None."""
    if _RATE_NAME.fullmatch(name):
        return "lr"
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _NAMES.get(plain.removeprefix("metrics"))  # Ultralytics: `metrics/accuracy_top1`


def _read_epochs(
    path: Path, lines: list[tuple[int, list[str]]], epoch: np.ndarray, values: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Epoch of each line that has one or can be given one, int64, and the places of these lines.

    Raises:
        InputError: A line without an epoch that holds more than learning rates, or no line with an epoch.
    """
    more = np.zeros(len(epoch), dtype=bool)
    for quantity, column in values.items():
        more |= np.isfinite(column) & (quantity not in RATES)
    bare = np.isnan(epoch)
    bad = np.flatnonzero(bare & (more | bare.all()))
    if len(bad):
        raise InputError(
            f"`{path}` line {lines[bad[0]][0]}, column `epoch`: `` is not an epoch: must be an integer >= 0"
        )
    filled = epoch.copy()
    for i in range(len(epoch) - 2, -1, -1):  # Lightning logs an epoch's rate before anything else of it
        if math.isnan(filled[i]):
            filled[i] = filled[i + 1]
    kept = np.flatnonzero(np.isfinite(filled))  # the last ones are of an epoch in progress
    return filled[kept].astype(np.int64), kept


def _drop_restarted(
    epoch: np.ndarray, values: Mapping[str, np.ndarray], notes: list[str], *, offset: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Without the lines that a restarted training has logged again, which goes into the notes.

    ``offset`` is what makes the file's epochs those of the notes, which count from 1.
    """
    kept = np.ones(len(epoch), dtype=bool)
    for i in range(1, len(epoch)):
        if epoch[i] >= epoch[i - 1]:
            continue
        stale = kept & (np.arange(len(epoch)) < i) & (epoch >= epoch[i])
        same = stale & (epoch == epoch[i])
        # blocks of other quantities one below the other, or a log that is sorted backwards, are no restart
        again = any(np.isfinite(column[i]) and np.isfinite(column[same]).any() for column in values.values())
        if again:
            low, high = epoch[stale].min() + offset, epoch[stale].max() + offset
            shown = f"epoch {low} is" if low == high else f"epochs {low} to {high} are"
            notes.append(f"{shown} logged again further down (a restart): the later lines count")
            kept &= ~stale
    return epoch[kept], {quantity: column[kept] for quantity, column in values.items()}


def _merge_epochs(
    epoch: np.ndarray, values: Mapping[str, np.ndarray], notes: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Epochs, growing, and one value of each quantity for each: see `load_log_csv`."""
    epochs, rows = np.unique(epoch, return_inverse=True)
    merged = {}
    for quantity, column in values.items():
        there = ~np.isnan(column)
        one = merged[quantity] = np.full(len(epochs), np.nan)
        one[rows[there]] = column[there]  # of several the last
        counts, differ = np.bincount(rows[there], minlength=len(epochs)), False
        for row in np.flatnonzero(counts > 1):
            several = column[there & (rows == row)]
            if several.min() < several.max():  # the mean of equal ones would differ in the last bit
                differ = True
                one[row] = several.mean() if quantity in _TRAINING else several[-1]
        if differ:
            rule = "their mean is taken" if quantity in _TRAINING else "the last one counts"
            notes.append(f"{quantity} has up to {counts.max()} values an epoch: {rule}")
    return epochs, merged


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and (line number, cells) of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no log `{path}`: it does not exist; give a .csv file with a header") from None
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not text in UTF-8 (byte {error.start}): save it as CSV") from error
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}; give a .csv file") from error
    first_line = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count))
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(
            f"`{path}` line {reader.line_num} is not CSV: {one_line(error)}; save it as CSV"
        ) from error
    if len(rows) < 2:
        raise InputError(f"`{path}` holds no numbers: expects a header and one line for each epoch")
    header, lines = [" ".join(cell.split()) for cell in rows[0][1]], rows[1:]
    if len(lines) > 1 and len(lines[-1][1]) < len(header) and not text.endswith("\n"):
        lines.pop()  # half written: the run is in progress
    for line, row in lines:
        if len(row) != len(header):
            raise InputError(
                f"`{path}` line {line} has {len(row)} cells, its header {len(header)}: mend the line"
            )
    return header, lines


def _choose_columns(
    path: Path, header: list[str], columns: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Quantity → index of its column, and what had to be assumed."""
    chosen: dict[str, int] = {}
    for wanted, name in columns.items():
        if wanted not in ("epoch", *QUANTITIES):
            raise UnknownNameError("quantity", wanted, ("epoch", *QUANTITIES))
        if name not in header:
            raise UnknownNameError(f"column of `{path.name}`:", name, header)
        chosen[wanted] = header.index(name)
    found = {i: recognise_column(name) for i, name in enumerate(header) if i not in chosen.values()}
    split_is_named = not {"val_acc", "test_acc"}.isdisjoint([*chosen, *found.values()])
    notes = []
    for i, meaning in found.items():
        quantity = meaning
        if meaning == _PLAIN_ACCURACY:
            quantity = "train_acc" if split_is_named else "val_acc"
            notes.append(f"column `{one_line(header[i])}` is taken as {quantity}")
        if quantity in chosen:
            notes.append(
                f"column `{one_line(header[i])}` is left out: {quantity} is column "
                f"`{one_line(header[chosen[quantity]])}`"
            )
        elif quantity is not None:
            chosen[quantity] = i
    unused = [name for i, name in enumerate(header) if i in found and not found[i] and _TELLING.search(name)]
    if unused:
        names = ", ".join(f"`{one_line(name)}`" for name in unused)
        notes.append(f"not used: {names}; name a column by --column val_acc=COLUMN")
    if not chosen.keys() - {"epoch"}:
        names = ", ".join(f"`{one_line(name)}`" for name in header[:12])
        raise InputError(
            f"`{path}` has no known column ({names}): rename them lr, train_loss, val_loss, val_acc"
        )
    return chosen, notes


def _parse_cell(path: Path, line: int, column: str, cell: str, quantity: str) -> float:
    text = " ".join(cell.split())
    where = f"`{path}` line {line}, column `{one_line(column)}`: `{one_line(text, 40)}`"
    try:
        value = math.nan if text.lower() in _MISSING else float(text)
    except ValueError:
        raise InputError(f"{where} is not a number: mend it or leave the cell empty") from None
    if quantity == "epoch" and not math.isnan(value) and not (0 <= value < 2**53 and value.is_integer()):
        raise InputError(f"{where} is not an epoch: must be an integer >= 0")
    if quantity in ACCURACIES and not (0 <= value <= 100 or math.isnan(value)):
        raise InputError(f"{where} is not an accuracy: must be in [0, 1] or in per cent")
    return value
