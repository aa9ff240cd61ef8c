"""Saved results: exact round trips, equal bytes, and nothing lost whatever goes wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ralr_viz.errors import InputError, StorageError, UnknownNameError
from ralr_viz.results import bundle, storage
from ralr_viz.results.bundle import Result, load_result, save_result, without_paths

resource = pytest.importorskip("resource")


@dataclass(frozen=True, eq=False)
class Sample(Result):
    kind: ClassVar[str] = "test-sample"
    schema: ClassVar[int] = 2

    x: np.ndarray
    y: np.ndarray
    label: Any = "a"


def sample(**changes: Any) -> Sample:
    values = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([1, 2], np.uint8), "label": {"n": (1, 2.5)}}
    return Sample(**{**values, **changes}, provenance={"seed": 0})


def hidden(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "$float" not in str(value))
arrays = hnp.arrays(
    st.one_of(
        hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.integer_dtypes(), st.just(np.dtype(bool)), st.just("<U3")
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(x=arrays, y=arrays, label=plain)
@settings(max_examples=60)
def test_result_round_trip_is_exact(
    tmp_path_factory: pytest.TempPathFactory, x: Any, y: Any, label: Any
) -> None:
    folder = tmp_path_factory.mktemp("round")
    result = sample(x=np.asarray(x), y=np.asarray(y), label=label)
    loaded = load_result(save_result(result, folder / "r"))
    assert loaded == result
    assert type(loaded) is Sample
    assert loaded.x.tobytes() == result.x.tobytes()  # -0.0 and NaN payloads too


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 2**70, 0.1 + 0.2])
def test_result_keeps_special_numbers(tmp_path: Path, value: float) -> None:
    loaded = load_result(save_result(sample(label=value), tmp_path / "r"))
    assert repr(loaded.label) == repr(value)
    strict = json.loads((tmp_path / "r/manifest.json").read_text(), parse_constant=pytest.fail)
    assert strict["kind"] == "test-sample"


def test_result_equality_sees_every_difference() -> None:
    base = sample()
    assert base == sample()
    assert base != sample(x=base.x.astype(np.float32))
    assert base != sample(x=base.x.reshape(3, 2))
    assert base != sample(x=np.where(base.x == 5, np.nan, base.x))
    assert sample(x=np.array([np.nan])) == sample(x=np.array([np.nan]))
    assert base != sample(label=None)
    assert base != "text"


def test_result_arrays_are_read_only_views_of_the_callers() -> None:
    mine = np.zeros(3)
    result = sample(x=mine)
    with pytest.raises(ValueError, match="read-only"):
        result.x[0] = 1
    mine[0] = 1  # the caller's array is still his
    assert result.x[0] == 1


@pytest.mark.parametrize(
    "bad", [np.array([object()]), {1: 2}, {"$float": "1"}, {"a": {1, 2}}, b"bytes", [np.zeros(2)]]
)
def test_result_refuses_what_a_manifest_cannot_keep(bad: Any) -> None:
    with pytest.raises(TypeError, match="`x`|`label`"):
        sample(x=bad) if isinstance(bad, np.ndarray) else sample(label=bad)


def test_save_result_gives_equal_bytes_for_equal_input(tmp_path: Path) -> None:
    for name in "ab":
        save_result(sample(), tmp_path / name)
    for file in ("arrays.npz", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with zipfile.ZipFile(tmp_path / "a/arrays.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert np.load(tmp_path / "a/arrays.npz", allow_pickle=False)["y"].tolist() == [1, 2]


def test_save_result_names_no_machine(tmp_path: Path) -> None:
    command = f"ralr-viz cam --ckpt {tmp_path}/x/last.pt --out={tmp_path}/out"
    result = Sample(
        np.zeros(1), np.zeros(1), provenance={"command": command, "deep": [{"file": f"{tmp_path}/a"}]}
    )
    text = (save_result(result, tmp_path / "r") / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert result.provenance["command"] == "ralr-viz cam --ckpt last.pt --out=out"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/a.pt", "a.pt"),
        (r"C:\Users\me\a.pt", "a.pt"),
        ("'/a/b' and /c/d/", "'b' and d"),
        ("images/s", "images/s"),
        ("runs/x/seed0", "runs/x/seed0"),
        ("../x/y", "../x/y"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("10 / 3", "10 / 3"),
    ],
)
def test_without_paths_cuts_only_absolute_paths(text: str, expected: str) -> None:
    assert without_paths(text) == expected


def test_save_result_refuses_to_overwrite_without_force(tmp_path: Path) -> None:
    save_result(sample(), tmp_path / "r")
    with pytest.raises(InputError, match="--force"):
        save_result(sample(label="new"), tmp_path / "r")
    assert load_result(tmp_path / "r") == sample()
    save_result(sample(label="new"), tmp_path / "r", force=True)
    assert load_result(tmp_path / "r") == sample(label="new")
    assert not hidden(tmp_path)


def test_save_result_never_replaces_a_folder_of_other_things(tmp_path: Path) -> None:
    save_result(sample(), tmp_path / "r")
    (tmp_path / "r/thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        save_result(sample(), tmp_path / "r", force=True)
    assert (tmp_path / "r/thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file/r"):
        with pytest.raises(InputError, match="choose another --out"):
            save_result(sample(), target, force=True)


def test_save_result_takes_an_empty_folder_and_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save_result(sample(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load_result(tmp_path / "real") == sample()


def test_save_result_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    old_limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old_limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot write `.*r`: the file is larger than"):
            save_result(sample(x=np.zeros(100_000)), tmp_path / "r")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limits)
    assert list(tmp_path.iterdir()) == []


def test_save_result_refuses_what_another_process_has_saved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ralr_viz.results import bundle

    first, second = sample(label="first"), sample(label="second")

    def overtake(*arguments: Any) -> bytes:
        monkeypatch.undo()
        save_result(first, tmp_path / "r")
        return b"{}"

    monkeypatch.setattr(bundle, "_manifest", overtake)
    with pytest.raises(InputError, match="`.*r` exists: .*--force"):
        save_result(second, tmp_path / "r")
    assert load_result(tmp_path / "r") == first
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("failing", range(1, 8))
def test_save_result_keeps_a_whole_result_whatever_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    old, new = sample(label="old"), sample(label="new")
    save_result(old, tmp_path / "r")
    calls = 0

    def breaking(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return step(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_synced", breaking(bundle.write_synced))
        patch.setattr(storage, "sync_directory", breaking(storage.sync_directory))
        patch.setattr(Path, "rename", breaking(Path.rename))
        patch.setattr(Path, "mkdir", breaking(Path.mkdir))
        with pytest.raises(StorageError):
            save_result(new, tmp_path / "r", force=True)
    assert load_result(tmp_path / "r") in (old, new)
    assert not hidden(tmp_path)


def test_load_result_finds_the_class_without_an_import(tmp_path: Path) -> None:
    from ralr_viz.analysis.schedule import compute_schedule

    result = compute_schedule([0.1, 0.01], [("ralr", 0, [1.0, 3.0])])
    save_result(result, tmp_path / "r")
    code = (
        "import sys; from pathlib import Path; from ralr_viz.results.bundle import load_result;"
        "r = load_result(Path(sys.argv[1])); print(type(r).__name__, r.sum_lr_ratio[0], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "r"], capture_output=True, text=True, check=True
    )
    name, ratio, torch = done.stdout.split()
    assert (name, float(ratio), torch) == ("ScheduleResult", result.sum_lr_ratio[0], "False")


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"schema": 3}, InputError, "upgrade ralr-viz"),
        ({"schema": 1}, InputError, "compute it again"),
        ({"kind": "test-sampel"}, UnknownNameError, "did you mean `test-sample`"),
        ({"kind": "os"}, UnknownNameError, "unknown kind of result `os`"),
        ({"kind": "run"}, UnknownNameError, "unknown kind of result `run`"),
        ({"kind": "../../evil"}, UnknownNameError, "unknown kind"),
        ({"format": "other"}, InputError, "is not the manifest of a ralr-viz result"),
        ({"fields": [1]}, InputError, "`fields` is missing or not a dict"),
        ({"fields": {}, "kind": 3}, InputError, "`kind` is missing or not a str"),
        ({"fields": {"unknown": 1}}, InputError, "damaged"),
        ({"fields": {"label": {"$float": "x"}}}, InputError, "damaged"),
        ({"arrays_sha256": "0" * 64}, InputError, "arrays.npz is not the file"),
    ],
)
def test_load_result_explains_a_bad_manifest(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    save_result(sample(), tmp_path / "r")
    edit(tmp_path / "r", **changes)
    with pytest.raises(error, match=message) as caught:
        load_result(tmp_path / "r")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["manifest.json", "arrays.npz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.98])
def test_load_result_explains_a_truncated_file(tmp_path: Path, file: str, share: float) -> None:
    path = save_result(sample(), tmp_path / "r") / file
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="damaged|not the manifest") as caught:
        load_result(tmp_path / "r")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\xff\xfe"])
def test_load_result_explains_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    save_result(sample(), tmp_path / "r")
    (tmp_path / "r/manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="damaged|not the manifest"):
        load_result(tmp_path / "r")


def test_load_result_never_unpickles(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = save_result(sample(), tmp_path / "r")
    np.savez(folder / "arrays.npz", x=np.array([Evil()], dtype=object), y=np.zeros(1))
    edit(folder, arrays_sha256=hashlib.sha256((folder / "arrays.npz").read_bytes()).hexdigest())
    with pytest.raises(InputError, match="damaged"):
        load_result(folder)
    assert not (tmp_path / "executed").exists()


def repack(folder: Path, content: bytes) -> None:
    """Other arrays, with a manifest that describes them."""
    (folder / "arrays.npz").write_bytes(content)
    edit(folder, arrays_sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("method", "megabytes", "message"),
    [
        (zipfile.ZIP_DEFLATED, 300, "it has .* bytes and unpacks to 314,5"),
        (zipfile.ZIP_BZIP2, 1, "another way"),
    ],
)
def test_load_result_refuses_arrays_that_unpack_to_much(
    tmp_path: Path, method: int, megabytes: int, message: str
) -> None:
    folder, buffer = save_result(sample(), tmp_path / "r"), io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive,
        archive.open("x.npy", "w") as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(2**20))
    repack(folder, buffer.getvalue())
    with pytest.raises(InputError, match=f"damaged: .*{message}") as caught:
        load_result(folder)
    assert "\n" not in str(caught.value)


@given(place=st.integers(0, 128), byte=st.integers(0, 255))
@settings(max_examples=30)
def test_load_result_of_a_changed_header_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    folder = save_result(sample(), tmp_path_factory.mktemp("header") / "r")
    with zipfile.ZipFile(folder / "arrays.npz") as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    members["x.npy"][place] = byte
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    repack(folder, buffer.getvalue())
    try:
        load_result(folder)
    except InputError as error:
        assert "\n" not in str(error)


def test_load_result_says_what_it_expects_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match=r"no result in .* manifest.json and arrays.npz"):
            load_result(path)
