from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from ralr_viz.errors import InputError, StorageError
from ralr_viz.results.storage import name_file, storage_error, storage_errors


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


def _refuse(*arguments: object) -> None:
    raise OSError(errno.EPERM, "no links here")
