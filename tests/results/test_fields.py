"""Every field of every kind of saved result: what is not as declared is one line that names the field."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.errors import InputError
from ralr_viz.results.bundle import Result, load_result

FIGURES = Path(__file__).parents[2] / "figures"


def _smallest() -> dict[str, Path]:
    """Of each kind, the smallest saved result of the repository."""
    found: dict[str, Path] = {}
    folders = [file.parent for file in FIGURES.rglob("manifest.json")]
    for folder in sorted(folders, key=lambda f: ((f / "arrays.npz").stat().st_size, f)):
        found.setdefault(json.loads((folder / "manifest.json").read_text())["kind"], folder)
    return found


SAVED = _smallest()


def rewrite(source: Path, target: Path, name: str, change: Any) -> None:
    """A copy of a saved result in which a field, of either file, is ``change`` of what it is."""
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


def names(result: Result, arrays: bool) -> list[str]:
    fields = [f.name for f in dataclasses.fields(result) if f.name != "provenance"]
    return [name for name in fields if isinstance(getattr(result, name), np.ndarray) == arrays]


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize(
    "change",
    [
        lambda array: np.zeros(array.shape, float if array.dtype.kind == "U" else str),
        lambda array: array[..., None],
        lambda array: np.zeros(array.shape, complex),
    ],
    ids=["text", "axes", "complex"],
)
def test_arrays_of_another_kind_are_refused_by_name(tmp_path: Path, kind: str, change: Any) -> None:
    fields = names(load_result(SAVED[kind]), arrays=True)
    for name in fields[:: max(1, len(fields) // 2)]:
        rewrite(SAVED[kind], tmp_path / name, name, change)
        with pytest.raises(InputError, match=f"is damaged: `{name}` is") as caught:
            load_result(tmp_path / name)
        assert "\n" not in str(caught.value)


WRONG = st.sampled_from([None, True, 1.5, 2**63, -(10**30), "x", [], [None], [[1]], {"a": 1}, {"a": [None]}])


@settings(max_examples=40)
@given(data=st.data())
def test_values_of_another_type_are_refused_in_one_line_or_load(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind, value = data.draw(st.sampled_from(list(SAVED))), data.draw(WRONG)
    name = data.draw(st.sampled_from(names(load_result(SAVED[kind]), arrays=False)))
    target = tmp_path_factory.mktemp("wrong") / "r"
    rewrite(SAVED[kind], target, name, lambda _: value)
    try:
        load_result(target)
    except InputError as error:
        assert "\n" not in str(error)
        assert "is damaged: " in str(error) and len(str(error)) < 700


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("curves", "split", "holdout"),
        ("curves", "best_by", ["luck"] * 2),
        ("sharpness", "batchnorm", "x"),
        ("barrier", "statistics", "x"),
    ],
)
def test_names_that_are_none_of_the_known_are_refused(
    tmp_path: Path, kind: str, name: str, value: Any
) -> None:
    rewrite(SAVED[kind], tmp_path / "r", name, lambda _: value)
    with pytest.raises(InputError, match=f"`{name}` is '.*', must be one of '"):
        load_result(tmp_path / "r")


@pytest.mark.parametrize(
    ("kind", "name"), [("schedule", "base_lr"), ("schedule", "factor"), ("sharpness", "centre_loss")]
)
def test_arrays_that_must_be_finite_are_refused_by_name(tmp_path: Path, kind: str, name: str) -> None:
    rewrite(SAVED[kind], tmp_path / "r", name, lambda array: np.full_like(array, np.nan))
    with pytest.raises(InputError, match=f"`{name}` holds .* values that are not finite"):
        load_result(tmp_path / "r")
