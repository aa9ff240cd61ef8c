"""``ralr-viz data``: data on stdout, progress on stderr, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ralr_viz.cli.data import app
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import DataError

runner = CliRunner()


def test_import_list_and_doctor_commands(tmp_path: Path, root: Path, make_tree: Callable[..., Path]) -> None:
    tree = make_tree(tmp_path / "tree")
    imported = runner.invoke(app, ["import", "pets", "--from", str(tree), "--data", str(root), "--json"])
    assert imported.exit_code == 0
    facts = json.loads(imported.stdout)
    assert (facts["n_train"], facts["num_classes"], facts["path"]) == (8, 2, str(root / "pets"))
    assert "reading images: 100 % (12 of 12)" in imported.stderr

    listed = runner.invoke(app, ["list", "--data", str(root)])
    assert "pets              ready    8 + 4 images" in listed.stdout
    rows = json.loads(runner.invoke(app, ["list", "--data", str(root), "--json"]).stdout)
    assert {row["name"]: row["present"] for row in rows}["pets"] is True

    checked = runner.invoke(app, ["doctor", "--data", str(root), "-q"])
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout.startswith("ok    pets: store: 8 train, 4 test")


def test_doctor_command_fails_on_a_damaged_store(
    tmp_path: Path, root: Path, make_tree: Callable[..., Path]
) -> None:
    runner.invoke(app, ["import", "pets", "--from", str(make_tree(tmp_path / "tree")), "--data", str(root)])
    (root / "pets" / "train_labels.npy").unlink()
    checked = runner.invoke(app, ["doctor", "pets", "--data", str(root), "--json"])
    assert checked.exit_code == 1
    assert [check["ok"] for check in json.loads(checked.stdout)] == [False]


def test_commands_take_the_data_root_of_the_environment(
    root: Path, tmp_path: Path, make_tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RALR_VIZ_DATA", str(root))
    result = runner.invoke(
        app, ["import", "pets", "--from", str(make_tree(tmp_path / "t", size=40)), "--size", "16"]
    )
    assert result.exit_code == 0
    assert result.stdout == f"pets: 8 + 4 images, 2 classes, in {root / 'pets'}\n"
    assert '"image_size": 16' in (root / "pets" / "store.json").read_text()


def test_import_command_passes_errors_on(tmp_path: Path, root: Path) -> None:
    result = runner.invoke(app, ["import", "pets", "--from", str(tmp_path / "none"), "--data", str(root)])
    assert isinstance(result.exception, DataError)  # cli/app.py makes it one line and an exit code
    assert result.stdout == ""


def test_show_progress_prints_a_line_every_five_per_cent(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        for done in range(1, 1001):
            progress(done, 1000, "one")
        progress(2, 2, "two")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line for line in lines if "two" in line] == ["two: 100 % (2 of 2)"]
    ones = [line for line in lines if line.startswith("one: ")]
    assert ones[-1] == "one: 100 % (1,000 of 1,000)"
    assert 20 <= len(ones) <= 22


def test_show_progress_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True) as progress:
        progress(1, 1, "one")
    assert capsys.readouterr() == ("", "")


def test_show_progress_draws_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        progress(1, 2, "one")
        progress(2, 2, "one")
    out, err = capsys.readouterr()
    assert out == ""
    assert "one" in err and "100%" in err


def test_weights_command_fetches_what_torchvision_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from ralr_viz.cli.data import weights_command
    from ralr_viz.errors import UnknownNameError

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, path, **options: Path(path).write_bytes(b"")
    )
    weights_command("torchvision:resnet18", "IMAGENET1K_V1")
    assert capsys.readouterr().out.strip() == str(tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    with pytest.raises(UnknownNameError, match="unknown torchvision model"):
        weights_command("torchvision:resnet19", "IMAGENET1K_V1")
