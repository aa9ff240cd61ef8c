"""Read a study from its TOML file: axes, their values, what the paper has and how the table is laid out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import is_one_line, one_line
from ralr_viz.recipe import (
    Recipe,
    check_method,
    load_recipe,
    parse_overrides,
    read_toml_name,
    read_toml_text,
    recipe_from_dict,
)
from ralr_viz.results.document import parse_toml
from ralr_viz.study.grid import Axis, Cell, PaperValue, Study, check_seeds, refer_to
from ralr_viz.study.rule_file import read_rule

# Beyond this a grid is a slip of the keyboard.
MOST_CELLS = 100_000
_REMEDY = "give a study's name or a TOML file"
_TOP = ("title", "note", "seeds", "order", "base", "axes", "exclude", "table", "paper", "decision")
_ORDERS = ("cell", "seed")
_MOST_STAGES = 100


def study_names() -> tuple[str, ...]:
    """Names of the packaged studies: the paper's tables, each followed by its laptop-sized counterpart; and studies beyond it."""
    names = (p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))
    return tuple(sorted(names))


def load_study(name: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Packaged study by name, or a user's TOML file.

    Args:
        name: ``table1``, ``table1-laptop``, … or the path of a ``.toml`` file.
        overrides: ``key=value`` settings that every cell gets.

    Raises:
        InputError: No such study or file, TOML that cannot be read, or a grid that makes no sense.
    """
    path = Path(name)
    if path.suffix == ".toml":
        source, stem, text = str(path), read_toml_name(path), read_toml_text(path, _REMEDY)
    elif str(name) in study_names():
        source = stem = str(name)
        text = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise UnknownNameError("study", str(name), study_names(), "(or the path of a .toml file)")
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise InputError(f"`{source}` is not valid TOML: {one_line(error)}") from None
    return build_study(values, stem, source, overrides)


def build_study(values: Mapping[str, Any], name: str, source: str, overrides: Sequence[str] = ()) -> Study:
    """Study from the content of its file; ``source`` names it in errors.

    Raises:
        InputError: Something is missing, unknown or contradictory.
    """
    _check_names(values, _TOP, "entry", source)
    axes = _read_axes(values.get("axes"), source)
    layout = _table(values.get("table", {}), "table", source)
    _check_names(layout, ("rows", "columns", "reference"), "entry of [table]", source)
    rows, columns = _read_layout(layout, axes, source)
    changed = parse_overrides(overrides)
    seeds = check_seeds(values.get("seeds", [0, 1, 2, 3]), source)
    cells = _add_paper(_make_cells(values, axes, seeds, changed, source), values, axes, source)
    order = values.get("order", "cell")
    if order not in _ORDERS:
        raise InputError(f"`{source}`: `order` = {order!r} must be one of {', '.join(_ORDERS)}")
    note = _text(values, "note", "", source)
    if changed:
        settings = ", ".join(f"{key} = {value}" for key, value in changed.items())
        note = f"Not as published: {settings} by --set. {note}".strip()
    return Study(
        name=name,
        title=_text(values, "title", name, source),
        note=note,
        axes=tuple(Axis(axis, tuple(choices)) for axis, choices in axes.items()),
        rows=rows,
        columns=columns,
        cells=refer_to(cells, _read_labels(layout.get("reference", {}), axes, "table.reference", source)),
        seeds=tuple(dict.fromkeys([*seeds, *(seed for cell in cells for seed in cell.seeds)])),
        order=order,
        rule=read_rule(values["decision"], cells, source) if "decision" in values else None,
    )


_Axes = dict[str, dict[str, dict[str, Any]]]  # axis → label → settings


def _make_cells(
    values: Mapping[str, Any], axes: _Axes, seeds: tuple[int, ...], changed: Mapping[str, Any], source: str
) -> list[Cell]:
    """The product of the axes, without what is excluded."""
    if math.prod(len(choices) for choices in axes.values()) > MOST_CELLS:
        raise InputError(f"`{source}` has more than {MOST_CELLS:,} cells: split it into several studies")
    for axis, choices in axes.items():
        for key in set(changed) & {key for settings in choices.values() for key in settings}:
            raise InputError(
                f"`--set {key}`: axis `{axis}` of {source} sets it; choose labels by --only, or change a copy of the file"
            )
    base = _table(values.get("base", {}), "base", source)
    excluded = [_read_exclude(e, axes, source) for e in _tables(values, "exclude", source)]
    cells: dict[tuple[Path, str], Cell] = {}
    for labels in itertools.product(*axes.values()):
        named = dict(zip(axes, labels, strict=True))
        if any(all(named[axis] in rule[axis] for axis in rule) for rule in excluded):
            continue
        settings = dict(base)
        for axis, label in named.items():
            settings |= axes[axis][label]
        cell = _make_cell(named, settings, seeds, changed, source)
        if (twin := cells.setdefault((cell.folder, cell.recipe.scored_by), cell)) is not cell:
            raise InputError(
                f"`{source}`: cells `{twin.name}` and `{cell.name}` are the same training: take one out by [[exclude]]"
            )
    if not cells:
        raise InputError(f"`{source}` excludes every cell: take out an [[exclude]]")
    return list(cells.values())


def _make_cell(
    labels: Mapping[str, str],
    settings: dict[str, Any],
    seeds: tuple[int, ...],
    changed: Mapping[str, Any],
    source: str,
) -> Cell:
    where = f"{source}: {', '.join(labels.values())}"
    own = check_seeds(settings.pop("seeds"), where) if "seeds" in settings else seeds
    stage = settings.pop("stage", 1)
    if not isinstance(stage, int) or isinstance(stage, bool) or not 1 <= stage <= _MOST_STAGES:
        raise InputError(f"`{where}`: `stage` = {stage!r} must be an integer from 1 to {_MOST_STAGES}")
    name, method = settings.pop("recipe", None), settings.pop("method", None)
    if not isinstance(name, str) or not isinstance(method, str):
        missing = "method" if isinstance(name, str) else "recipe"
        raise InputError(f"`{where}` has no `{missing}`: give one in [base] or on an axis")
    check_method(method)
    recipe = _load_base(name)
    found = {**recipe.to_dict(), **settings, **changed, "name": recipe.name}
    return Cell(labels, recipe_from_dict(found, where), method, own, stage)


@cache
def _load_base(name: str) -> Recipe:
    return load_recipe(name)


def _add_paper(cells: list[Cell], values: Mapping[str, Any], axes: _Axes, source: str) -> list[Cell]:
    published: dict[int, PaperValue] = {}
    for entry in _tables(values, "paper", source):
        entry = dict(entry)
        mean, std = entry.pop("mean", None), entry.pop("std", None)
        if not _is_number(mean) or not (std is None or _is_number(std)):
            raise InputError(f"`{source}`: a [[paper]] entry needs `mean`, and may have `std`, in per cent")
        labels = _read_labels(entry, axes, "paper", source)
        found = [i for i, cell in enumerate(cells) if labels.items() <= cell.labels.items()]
        if len(found) != 1:
            raise InputError(
                f"`{source}`: [[paper]] {', '.join(labels.values())} names {len(found)} cells, not one: "
                "give its label on every axis"
            )
        published[found[0]] = PaperValue(float(mean), None if std is None else float(std))
    return [replace(cell, paper=published.get(i)) for i, cell in enumerate(cells)]


def _read_axes(tables: Any, source: str) -> _Axes:
    axes: _Axes = {}
    for axis in _check_tables(tables, "axes", source):
        name, values = axis.get("name"), axis.get("values")
        _check_one_line(name, source)
        if not isinstance(name, str) or not name or name in axes or set(axis) - {"name", "values"}:
            raise InputError(f"`{source}`: each of [[axes]] needs a `name` of its own and `values`")
        choices: dict[str, dict[str, Any]] = {}
        for value in _check_tables(values, f"values of axis {name}", source):
            settings = dict(value)
            label = settings.pop("label", None)
            _check_one_line(label, source)
            if not isinstance(label, str) or not label.strip() or label in choices:
                raise InputError(f"`{source}`: each value of axis `{name}` needs a `label` of its own")
            choices[label] = settings
        axes[name] = choices
    return axes


def _read_layout(
    layout: Mapping[str, Any], axes: _Axes, source: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = list(axes)
    rows, columns = (
        layout.get("rows", names[:-1] or names),
        layout.get("columns", names[len(names) > 1 :][-1:]),
    )
    if "columns" not in layout:
        columns = [name for name in names if name not in rows]
    lists = isinstance(rows, list) and isinstance(columns, list)
    if not lists or sorted(map(str, rows + columns)) != sorted(names):
        raise InputError(
            f"`{source}`: `rows` and `columns` of [table] must name each axis once ({', '.join(names)})"
        )
    return tuple(rows), tuple(columns)


def _read_labels(entry: Any, axes: _Axes, what: str, source: str) -> dict[str, str]:
    """Labels by axis, checked against the axes."""
    for axis, label in _table(entry, what, source).items():
        if axis not in axes:
            raise UnknownNameError("axis", axis, axes, f"([{what}] in {source})")
        if not isinstance(label, str) or label not in axes[axis]:
            raise UnknownNameError(
                f"label of axis `{axis}`", str(label), axes[axis], f"([{what}] in {source})"
            )
    return dict(entry)


def _read_exclude(entry: Mapping[str, Any], axes: _Axes, source: str) -> dict[str, list[str]]:
    """For some axes, the labels whose combinations are left out."""
    rule = {axis: labels if isinstance(labels, list) else [labels] for axis, labels in entry.items()}
    for axis, labels in rule.items():
        for label in labels:
            _read_labels({axis: label}, axes, "exclude", source)
    return rule


def _check_names(entries: Mapping[str, Any], known: tuple[str, ...], what: str, source: str) -> None:
    for key in entries:
        if key not in known:
            raise UnknownNameError(what, key, known, f"(in {source})")


def _table(value: Any, name: str, source: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"`{source}`: `{name}` must be a table, e.g. [{name}]")
    return value


def _tables(values: Mapping[str, Any], name: str, source: str) -> Sequence[Mapping[str, Any]]:
    return _check_tables(values[name], name, source) if name in values else ()


def _check_tables(value: Any, name: str, source: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise InputError(f"`{source}`: `{name}` must be a list of tables, at least one, e.g. [[{name}]]")
    return value


def _text(values: Mapping[str, Any], name: str, default: str, source: str) -> str:
    value = values.get(name, default)
    if not isinstance(value, str):
        raise InputError(f'`{source}`: `{name}` = {value!r} must be a text: write {name} = "…"')
    return value


def _check_one_line(name: Any, source: str) -> None:
    if isinstance(name, str) and not is_one_line(name):
        raise InputError(
            f"`{source}`: the name `{one_line(name)}` must be one line of text, without control characters"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _folder() -> Any:
    return resources.files("ralr_viz").joinpath("studies")
