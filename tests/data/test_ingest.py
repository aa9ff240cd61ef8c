"""A store is there whole or not at all: killed, out of space, raced, or fed with broken images."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ralr_viz.data import import_dataset, load_dataset
from ralr_viz.errors import DataError, StorageError, UnknownNameError

CHILD = """
import os, resource, signal, sys
from pathlib import Path
from ralr_viz.data import import_dataset, ingest

source, root, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(done, total, what):
    if what == moment:
        die()

if moment == "publishing":
    ingest._publish = die
if moment == "writing the manifest":
    ingest.write_synced = lambda path, data: (path.write_bytes(data[:14]), die())
if moment == "full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        import_dataset("pets", source, root, force=True)
    except Exception as error:
        print(type(error).__name__, error)
        sys.exit(getattr(error, "exit_code", 99))
import_dataset("pets", source, root, force=True, progress=progress)
"""


def run_child(source: Path, root: Path, moment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(source), str(root), moment],
        capture_output=True,
        text=True,
        timeout=60,
    )


def leftovers(root: Path) -> list[Path]:
    return list(root.glob(".import-*"))


MOMENTS = [
    "reading images",
    "storing train images",
    "storing test images",
    "writing the manifest",
    "publishing",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_import_killed_leaves_no_store_and_the_next_one_cleans_up(
    moment: str, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    source = make_tree(tmp_path / "tree")
    child = run_child(source, root, moment)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert leftovers(root), "the child must have been killed in the middle of its work"
    with pytest.raises(UnknownNameError):
        load_dataset("pets", root)

    dataset = import_dataset("pets", source, root)
    assert not leftovers(root)
    assert dataset.content_hash == import_dataset("twin", source, root).content_hash


def test_import_killed_while_replacing_keeps_the_old_store(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    old = import_dataset("pets", make_tree(tmp_path / "old", seed=1), root)
    assert run_child(make_tree(tmp_path / "new"), root, "publishing").returncode == -signal.SIGKILL
    assert load_dataset("pets", root).content_hash == old.content_hash


def test_import_on_a_full_disk_keeps_the_old_store_and_leaves_nothing(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    old = import_dataset("pets", make_tree(tmp_path / "old", seed=1), root)
    child = run_child(make_tree(tmp_path / "new"), root, "full disk")
    assert child.returncode == 1
    assert child.stdout.startswith("StorageError cannot write ")
    assert "raise the limit (`ulimit -f`)" in child.stdout
    assert not leftovers(root)
    assert load_dataset("pets", root).content_hash == old.content_hash


def test_import_that_cannot_be_named_puts_the_old_store_back(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = import_dataset("pets", make_tree(tmp_path / "old", seed=1), root)
    rename = Path.rename

    def fail(folder: Path, target: Path) -> Path:
        if target == root / "pets" and folder.parent == root:
            raise OSError(errno.EIO, "Input/output error")
        return rename(folder, target)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="input/output error"):
        patch.setattr(Path, "rename", fail)
        import_dataset("pets", make_tree(tmp_path / "new"), root, force=True)
    assert load_dataset("pets", root).content_hash == old.content_hash
    import_dataset("pets", tmp_path / "new", root, force=True)
    assert not leftovers(root)


def test_import_leaves_the_folder_of_a_living_process_alone(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    source = make_tree(tmp_path / "tree")

    def import_another(done: int, total: int, what: str) -> None:
        if what == "reading images" and not (root / "inner").exists():
            import_dataset("inner", source, root)  # sweeps the root while the outer import is under way

    outer = import_dataset("outer", source, root, progress=import_another)
    assert outer.content_hash == load_dataset("inner", root).content_hash
    assert not leftovers(root)


@pytest.mark.parametrize("same", [True, False])
def test_import_raced_by_another_one(
    same: bool, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    source = make_tree(tmp_path / "tree")
    other = source if same else make_tree(tmp_path / "other", seed=1)

    def race(done: int, total: int, what: str) -> None:
        if what == "reading images" and not (root / "pets").exists():
            import_dataset("pets", other, root)

    if same:
        import_dataset("pets", source, root, progress=race)
    else:
        with pytest.raises(DataError, match="stored by another process"):
            import_dataset("pets", source, root, progress=race)
    assert not leftovers(root)
    assert len(load_dataset("pets", root).train) == 8


def test_import_refuses_to_replace_without_force(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    old = import_dataset("pets", make_tree(tmp_path / "old"), root)
    new = make_tree(tmp_path / "new", seed=1)
    with pytest.raises(DataError, match=r"`pets` is already in .* --force"):
        import_dataset("pets", new, root)
    first = old.train.images[0].copy()
    replaced = import_dataset("pets", new, root, force=True)
    assert replaced.content_hash != old.content_hash
    np.testing.assert_array_equal(old.train.images[0], first)  # an open map outlives the replacement
    assert not leftovers(root)


@pytest.mark.parametrize("force", [False, True])
def test_import_never_deletes_a_folder_that_is_no_store(
    force: bool, tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    source = make_tree(root / "pets")  # the user's own images, in the data root under the same name
    with pytest.raises(DataError, match="is no dataset store: move it"):
        import_dataset("pets", source, root, force=force)
    assert len(list(source.rglob("*.png"))) == 12


def test_import_interrupted_removes_its_folder(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset("pets", make_tree(tmp_path / "tree"), root, progress=interrupt)
    assert not leftovers(root)
    assert not (root / "pets").exists()


def test_import_into_an_unwritable_root_is_a_storage_error(
    tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .* --data"):
        import_dataset("pets", make_tree(tmp_path / "tree"), tmp_path / "file" / "root")


def test_import_reports_progress_to_the_end(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    calls: list[tuple[int, int, str]] = []
    import_dataset("pets", make_tree(tmp_path / "tree"), root, progress=lambda *call: calls.append(call))
    assert {call for call in calls if call[0] == call[1]} == {
        (12, 12, "reading images"),
        (8, 8, "storing train images"),
        (4, 4, "storing test images"),
    }


def test_import_does_not_depend_on_the_number_of_workers(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ralr_viz.data.images._CHUNK_IMAGES", 3)
    source = make_tree(tmp_path / "tree", n_train=11)
    for workers in (1, 2, 5):
        import_dataset(f"w{workers}", source, root, workers=workers)
    files = sorted(path.name for path in (root / "w1").iterdir())
    for twin in ("w2", "w5"):
        for file in files:
            one, other = ((root / name / file).read_bytes() for name in ("w1", twin))
            assert one == other.replace(twin.encode(), b"w1") if file == "store.json" else one == other


def test_import_is_readable_by_other_users(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    previous = os.umask(0o022)
    try:
        import_dataset("pets", make_tree(tmp_path / "tree"), root)
    finally:
        os.umask(previous)
    assert (root / "pets").stat().st_mode & 0o777 == 0o755
