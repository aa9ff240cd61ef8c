import shutil

import pytest

from ralr_viz.cli import demo as demo_command
from ralr_viz.cli import train as train_command


@pytest.fixture
def trained_in_advance(monkeypatch, trained_pair, squares_root):
    """The training of the demo takes minutes, so the runs are copied; the figures are drawn for real."""
    calls = []

    def pair(recipe, *, runs, data, resume, force, quiet):
        calls.append({"recipe": recipe, "resume": resume, "force": force, "quiet": quiet})
        shutil.copytree(trained_pair, runs, dirs_exist_ok=True)
        shutil.copytree(squares_root, data, dirs_exist_ok=True)

    monkeypatch.setattr(train_command, "pair", pair)
    return calls


def test_demo_trains_the_digits_and_draws_all_figures_once(cli, trained_in_advance, tmp_path, read_files):
    out = tmp_path / "out"
    outcome = cli("demo", "--out", out).succeeded()
    assert trained_in_advance == [
        {"recipe": "digits-resnet20", "resume": True, "force": False, "quiet": False}
    ]
    stems = ("schedule-digits-resnet20-seed0", "curves", "activations", "cam", "embedding")
    names = {f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png", "csv")} | set(stems)
    assert {path.name for path in (out / "figures").iterdir()} == names
    assert set(outcome.lines) >= {str(out / "figures" / name) for name in names}
    assert outcome.err.splitlines()[-1].startswith("done: look at the PNG files in ")

    before = read_files(out)
    cli("demo", "--out", out).failed(2, "exists: pass --force")
    assert read_files(out) == before
    assert len(trained_in_advance) == 1


def test_demo_into_a_file_is_one_line(cli, tmp_path):
    (tmp_path / "out").touch()
    cli("demo", "--out", tmp_path / "out").failed(2, "out")


def test_demo_uses_a_packaged_recipe_of_data_that_need_no_download():
    from ralr_viz.train.recipe import load_recipe

    assert load_recipe(demo_command.RECIPE).dataset == "digits"
