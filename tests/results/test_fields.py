"""Every field of every kind of result: what is not as declared is refused in one line that names it, or can be drawn."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import pkgutil
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz import results
from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.style import style
from ralr_viz.results.bundle import Result, load_result, save_result
from ralr_viz.results.fields import Array, Axis, check_fields, declarations


def _kinds() -> Iterator[str]:
    for module in pkgutil.iter_modules(results.__path__):
        found = vars(importlib.import_module(f"{results.__name__}.{module.name}")).values()
        if any(getattr(cls, "kind", None) == module.name for cls in found):
            yield module.name


KINDS = tuple(_kinds())


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, make_result: Callable[[str], Any]
) -> Callable[[str], Path]:
    """``saved("cam")``: a saved result of that kind."""
    folders: dict[str, Path] = {}

    def save(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = save_result(make_result(kind), tmp_path_factory.mktemp("saved") / kind)
        return folders[kind]

    return save


def values_of(result: Result) -> dict[str, Any]:
    return {f.name: getattr(result, f.name) for f in dataclasses.fields(result) if f.name != "provenance"}


def rewrite(source: Path, target: Path, name: str, change: Callable[[Any], Any]) -> str:
    """Make a copy of a saved result in which a field, of either file, is ``change`` of what it is.

    Returns:
        The manifest, equal for equal copies.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    if name in manifest["fields"]:
        manifest["fields"][name] = change(manifest["fields"][name])
    with np.load(target / "arrays.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    if name in arrays:
        arrays[name] = change(arrays[name])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (target / "arrays.npz").write_bytes(buffer.getvalue())
    manifest["arrays_sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    return json.dumps(manifest)


def lengthen(value: Any, axis: int) -> Any:
    """One more on an axis of an array or of a tuple and the tuples in it, the last again."""
    if isinstance(value, np.ndarray):
        return np.concatenate(
            [value, np.zeros_like(value, shape=(*value.shape[:axis], 1, *value.shape[axis + 1 :]))], axis
        )
    if axis:
        return tuple(lengthen(item, axis - 1) for item in value)
    return (*value, *value[-1:])


@pytest.mark.parametrize("kind", KINDS)
def test_check_fields_refuses_another_length_of_each_axis_by_name(
    kind: str, make_result: Callable[[str], Any]
) -> None:
    result = make_result(kind)
    values, cls = values_of(result), type(result)
    shaped = [
        (name, rule)
        for name, (_, rules) in declarations(cls).items()
        for rule in rules
        if isinstance(rule, Array | Axis) and values[name] is not None
        if not (isinstance(rule, Axis) and not values[name])
    ]
    named = [str(axis).partition("+")[0] for _, rule in shaped for axis in rule.axes]
    for name, rule in shaped:
        for i, axis in enumerate(rule.axes):
            changed = values | {name: lengthen(values[name], i)}
            if (
                isinstance(axis, str)
                and named.count(axis.partition("+")[0]) == 1
                and not getattr(rule, "unique", False)
            ):
                check_fields(changed, cls)  # no other field has this axis
            else:
                with pytest.raises(ValueError, match=f"`{name}`") as caught:
                    check_fields(changed, cls)
                assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_declared_with_their_axes(kind: str, make_result: Callable[[str], Any]) -> None:
    result = make_result(kind)
    for name, value in values_of(result).items():
        if isinstance(value, np.ndarray):
            assert any(isinstance(rule, Array) for rule in declarations(type(result))[name][1]), name


@pytest.mark.parametrize("kind", KINDS)
def test_check_fields_refuses_what_is_empty_and_must_not_be(
    kind: str, make_result: Callable[[str], Any]
) -> None:
    result = make_result(kind)
    for name, (_, rules) in declarations(type(result)).items():
        if any(getattr(rule, "fewest", 0) for rule in rules):
            with pytest.raises(ValueError, match=f"`{name}`.* expects"):
                check_fields({name: getattr(result, name)[:0]}, type(result))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("curves", "split", "holdout"),
        ("curves", "best_by", "luck"),
        ("effect", "outcomes", "loss"),
        ("sharpness", "batchnorm", "x"),
        ("barrier", "statistics", "x"),
    ],
)
def test_names_that_are_none_of_the_known_are_refused(
    saved: Callable[[str], Path], tmp_path: Path, kind: str, name: str, value: Any
) -> None:
    rewrite(saved(kind), tmp_path / "r", name, leaves(lambda _: value))
    with pytest.raises(InputError, match=f"`{name}` is '.*', must be one of '"):
        load_result(tmp_path / "r")


@pytest.mark.parametrize(
    ("kind", "name"), [("schedule", "base_lr"), ("schedule", "factor"), ("sharpness", "centre_loss")]
)
def test_arrays_that_must_be_finite_are_refused_by_name(
    saved: Callable[[str], Path], tmp_path: Path, kind: str, name: str
) -> None:
    rewrite(saved(kind), tmp_path / "r", name, lambda array: np.full_like(array, np.nan))
    with pytest.raises(InputError, match=f"`{name}` holds .* values that are not finite"):
        load_result(tmp_path / "r")


def leaves(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``change`` of each single value in lists and dicts."""

    def every(value: Any) -> Any:
        if isinstance(value, list):
            return [every(item) for item in value]
        if isinstance(value, dict):
            return {key: every(item) for key, item in value.items()}
        return change(value)

    return every


def number(to: Any) -> Callable[[Any], Any]:
    return leaves(lambda v: to if isinstance(v, int | float) and not isinstance(v, bool) else v)


NAN = {"$float": "nan"}
WRONG = [None, True, 1.5, 2**63, -(10**30), "x", [], [None], [[1]], {"a": 1}, {"a": [None]}, {}, NAN]
PLAIN: dict[str, Callable[[Any], Any]] = {
    **{f"is {value!r}": lambda _, value=value: value for value in WRONG},
    "one is nan": lambda v: [NAN, *v[1:]] if isinstance(v, list) else v,
    "numbers -1": number(-1),
    "numbers 0": number(0),
    "numbers 2^62": number(2**62),
    "numbers nan": number(NAN),
    "numbers 1e308": number(1e308),
    "unknown words": leaves(lambda v: "luck" if isinstance(v, str) else v),
    "empty words": leaves(lambda v: "" if isinstance(v, str) else v),
    "twice the same": lambda v: [v[0]] * len(v) if isinstance(v, list) and v else v,
    "one less": lambda v: v[:-1] if isinstance(v, list) else v,
    "one more": lambda v: v + v[-1:] if isinstance(v, list) else v,
    "no values": lambda v: dict.fromkeys(v) if isinstance(v, dict) else v,
}


def full(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    """An array of that value only, where its type can hold it."""

    def fill(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind not in ("f" if isinstance(value, float) else "fi"):
            return array
        return np.full_like(
            array, value if abs(value) < 2**31 or array.itemsize == 8 else np.sign(value) * 100
        )

    return fill


def first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.flat[:1] = value if array.dtype.kind == "f" else changed.flat[:1]
        return changed

    return put


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "text": lambda a: np.zeros(a.shape, float if a.dtype.kind == "U" else str),
    "one axis more": lambda a: a[..., None],
    "one axis less": lambda a: np.zeros(a.shape[1:], a.dtype),
    "complex": lambda a: np.zeros(a.shape, complex),
    "float": lambda a: np.zeros(a.shape, float),
    "nan": full(np.nan),
    "inf": full(np.inf),
    "-inf": full(-np.inf),
    "one nan": first(np.nan),
    "one inf": first(np.inf),
    "-1": full(-1),
    "0": full(0),
    "2^62": full(2**62),
    "-2^62": full(-(2**62)),
    "1e300": full(1e300),
    "words": lambda a: np.full_like(a, "luck") if a.dtype.kind == "U" else a,
    "false": lambda a: np.zeros_like(a) if a.dtype.kind == "b" else a,
    "reversed": lambda a: a[::-1],
    "empty": lambda a: a[:0],
    "one less": lambda a: a[:-1],
    "twice the same": lambda a: np.repeat(a[:1], len(a), axis=0),
}


def load_or_draw(folder: Path, name: str) -> None:
    """Load a result and draw it, unless it is refused in one line that names the field."""
    try:
        result = load_result(folder)
    except InputError as error:
        assert f"`{name}`" in str(error), error
        assert "\n" not in str(error) and len(str(error)) < 700
        return
    if result.kind == "predictions":  # which has no figure
        return
    drawing = find_drawing(result)
    with style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            drawing.table(result)
            drawing.draw(result)
        except RalrVizError as error:
            assert "\n" not in str(error)


def changes_of(value: Any) -> dict[str, Callable[[Any], Any]]:
    return ARRAYS if isinstance(value, np.ndarray) else PLAIN


@settings(max_examples=12)
@given(data=st.data())
def test_any_change_of_a_field_is_refused_by_name_or_draws(
    saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    source = saved(data.draw(st.sampled_from(KINDS)))
    name, value = data.draw(st.sampled_from(list(values_of(load_result(source)).items())))
    change = data.draw(st.sampled_from(list(changes_of(value))))
    target = tmp_path_factory.getbasetemp() / "changed"
    rewrite(source, target, name, changes_of(value)[change])
    load_or_draw(target, name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_a_field_is_refused_by_name_or_draws(
    saved: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    source, failed, seen = saved(kind), [], set()
    for name, value in values_of(load_result(source)).items():
        seen.add(rewrite(source, tmp_path / "r", name, lambda same: same))
        for change, make in changes_of(value).items():
            copy = rewrite(source, tmp_path / "r", name, make)
            if copy in seen:
                continue
            seen.add(copy)
            try:
                load_or_draw(tmp_path / "r", name)
            except Exception as error:  # to show all of them
                failed.append(f"{name} {change}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
