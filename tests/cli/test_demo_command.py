import shutil

import pytest

from ralr_viz.workflows import demo as demo_workflow


@pytest.fixture
def trained_in_advance(monkeypatch, trained_pair, squares_root):
    """The training of the demo takes minutes, so the runs are copied; the figures are drawn for real."""
    calls = []

    def train_all(directories, data_root, show, *, note):
        calls.append(list(directories))
        shutil.copytree(trained_pair, directories[0].parents[2], dirs_exist_ok=True)
        shutil.copytree(squares_root, data_root, dirs_exist_ok=True)
        return iter(())

    monkeypatch.setattr(demo_workflow, "train_all", train_all)
    return calls


def test_demo_trains_the_digits_and_draws_all_figures_once(cli, trained_in_advance, tmp_path, read_files):
    out = tmp_path / "out"
    outcome = cli("demo", "--out", out).succeeded()
    recipe = out / "runs" / "digits-resnet20"
    assert trained_in_advance == [[recipe / "baseline" / "seed0", recipe / "ralr" / "seed0"]]
    stems = ("schedule-digits-resnet20-seed0", "curves", "activations", "cam", "embedding")
    names = {
        f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png", "csv", "caption.txt", "caption.tex")
    } | set(stems)
    assert {path.name for path in (out / "figures").iterdir()} == names
    assert set(outcome.lines) >= {str(out / "figures" / name) for name in names}
    page = out / "report.html"
    assert str(page) in outcome.lines and "<h1>RALR against baseline</h1>" in page.read_text()
    assert outcome.err.splitlines()[-1].startswith(f"done: open {page} in a browser (")

    before = read_files(out)
    cli("demo", "--out", out).failed(2, "exists: pass --force")
    assert read_files(out) == before
    assert len(trained_in_advance) == 1


def test_demo_into_a_file_is_one_line(cli, tmp_path):
    (tmp_path / "out").touch()
    cli("demo", "--out", tmp_path / "out").failed(2, "out")


def test_demo_uses_a_packaged_recipe_of_data_that_need_no_download():
    from ralr_viz.recipe import load_recipe

    assert load_recipe(demo_workflow.RECIPE).dataset == "digits"
