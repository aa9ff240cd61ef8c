from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

import ralr_viz
from ralr_viz.errors import InputError, StorageError
from ralr_viz.results import storage
from ralr_viz.results.storage import (
    build_folder,
    copy_file,
    name_file,
    name_folder,
    open_synced,
    remove_leftovers,
    storage_error,
    storage_errors,
    write_bytes,
    write_files,
    write_json,
)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left: free some"),
        (errno.EDQUOT, "no space left: free some"),
        (errno.EFBIG, "the file is larger than is allowed here"),
        (errno.EACCES, "permission denied: check the folder and its permissions"),
        (errno.EIO, "input/output error: check"),
    ],
)
def test_storage_error_says_what_failed_and_what_to_do(number: int, said: str) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(Path("out/x")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"cannot write `out/x`: {said}")
    assert "--resume" not in str(caught.value)  # only a training has that
    assert "nothing was saved" not in str(storage_error(Path("x"), OSError(number, "")))  # who knows


@pytest.mark.parametrize("links", [True, False])
def test_name_file_gives_a_name_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _refuse)
    (tmp_path / "new").write_text("first")
    name_file(tmp_path / "new", tmp_path / "page", replace=False)
    (tmp_path / "new").write_text("second")
    with pytest.raises(InputError, match="`.*page` exists: .*--force"):
        name_file(tmp_path / "new", tmp_path / "page", replace=False)
    assert (tmp_path / "page").read_text() == "first"
    name_file(tmp_path / "new", tmp_path / "page", replace=True)
    assert (tmp_path / "page").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_name_file_lets_one_of_many_through(tmp_path: Path) -> None:
    outcomes, start = [], threading.Barrier(8)

    def name(number: int) -> None:
        new = tmp_path / f"new{number}"
        new.write_text(str(number))
        start.wait()
        try:
            name_file(new, tmp_path / "page", replace=False)
        except InputError:
            outcomes.append(None)
        else:
            outcomes.append(str(number))

    threads = [threading.Thread(target=name, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if outcome is not None]
    assert (tmp_path / "page").read_text() == winner


def _refuse(*arguments: object, **options: object) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_files_are_renamed_and_synced_in_one_module() -> None:
    """What writes by itself would miss what is learned here of full disks, kills and two at once."""
    root = Path(ralr_viz.__file__).parent
    found = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            moves = name == "replace" and len(node.args) == 1 and not node.keywords  # of a text it takes two
            if moves or name in ("rename", "link", "fsync", "write_text", "mkstemp", "NamedTemporaryFile"):
                found.add(file.relative_to(root).as_posix())
    assert found == {"results/storage.py"}


def test_write_bytes_lets_any_number_write_at_once(tmp_path: Path) -> None:
    start, texts = threading.Barrier(8), [f"{i}" * 100_000 for i in range(8)]

    def write(text: str) -> None:
        start.wait()
        for _ in range(5):
            write_bytes(tmp_path / "page", text.encode(), sync=False)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "page").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.parametrize("step", ["write_synced", "name_file", "sync_directory"])
@pytest.mark.parametrize("replace", [False, True])
def test_write_bytes_leaves_nothing_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, replace: bool
) -> None:
    monkeypatch.setattr(storage, step, _refuse)
    with pytest.raises(StorageError, match="cannot write `.*page`"):
        write_bytes(tmp_path / "page", b"x", replace=replace)
    left = [path.name for path in tmp_path.iterdir()]
    assert left == (["page"] if replace and step == "sync_directory" else [])  # it is named, but when?


def test_write_files_are_all_there_or_none(tmp_path: Path) -> None:
    files = {tmp_path / "new" / f"fig.{suffix}": suffix.encode() for suffix in ("pdf", "png", "csv")}
    write_files(files, tmp_path / "new" / "fig", replace=False)
    assert {path: path.read_bytes() for path in (tmp_path / "new").iterdir()} == files
    other = {tmp_path / "new" / "a.pdf": b"1", **files}
    with pytest.raises(InputError, match="exists"):
        write_files(other, tmp_path / "new" / "a", replace=False)
    assert set((tmp_path / "new").iterdir()) == set(files)
    with pytest.raises(InputError, match="cannot write `.*a`: .*choose another --out"):
        write_files(
            {tmp_path / "new" / "fig.pdf" / "a": b""}, tmp_path / "new" / "fig.pdf" / "a", replace=True
        )


def test_write_json_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"class_names": ["caf\udce9", "猫"]})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert "猫" in text and json.loads(text) == {"class_names": ["caf\udce9", "猫"]}


@pytest.mark.parametrize("links", [True, False])
def test_copy_file_replaces_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _refuse)
    (tmp_path / "last").write_text("new")
    for _ in range(2):  # the second time both names may be one file
        copy_file(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    (tmp_path / "folder" / "x").mkdir(parents=True)
    with pytest.raises(StorageError):
        copy_file(tmp_path / "last", tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "folder", "last"]


def test_remove_leftovers_takes_what_a_killed_process_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # as if it were killed before
    monkeypatch.setattr(storage, "name_file", _refuse)
    for write in (
        lambda: write_bytes(tmp_path / "a", b""),
        lambda: write_files({tmp_path / "b": b""}, tmp_path / "b", replace=True),
    ):
        with pytest.raises(StorageError):
            write()
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_open_synced_leaves_the_errors_of_the_block_alone(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def translate(path):
        with storage_errors(path):
            yield

    with open_synced(tmp_path / "a", translate) as file:
        file.write(b"1")
        file.write(b"2")
    assert (tmp_path / "a").read_bytes() == b"12"
    with pytest.raises(InputError, match="File exists"), open_synced(tmp_path / "a", translate):
        pass
    with pytest.raises(PermissionError), open_synced(tmp_path / "b", translate):
        raise PermissionError("of what is read")


def test_name_folder_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, target, old = (tmp_path / name for name in ("new", "target", "old"))
    for folder in (new, target):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda a, b: _refuse() if a == new else rename(a, b))
    with pytest.raises(OSError):
        name_folder(new, target, old)
    assert (target / "file").read_text() == "target" and not old.exists()
    monkeypatch.undo()
    name_folder(new, target, old)
    assert (target / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_build_folder_says_why_it_cannot_be_named(tmp_path: Path) -> None:
    def check() -> None:
        raise InputError("somebody else's")

    with (
        pytest.raises(InputError, match="somebody"),
        build_folder(tmp_path / "a" / "x", replace=False, check=check) as new,
    ):
        assert new.name.startswith(".x.")
        (tmp_path / "a" / "x" / "theirs").mkdir(parents=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]
    shutil.rmtree(tmp_path / "a" / "x")
    with build_folder(tmp_path / "a" / "x", replace=False, check=check) as new:
        (new / "ours").write_text("")
    assert [path.name for path in (tmp_path / "a" / "x").iterdir()] == ["ours"]
