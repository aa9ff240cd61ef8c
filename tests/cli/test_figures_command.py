"""Which runs `figures` takes, and that one missing figure does not keep the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ralr_viz import RunWriter
from ralr_viz.errors import InputError
from ralr_viz.workflows.figures import Experiment, choose_epochs, choose_experiment, find_experiments


def experiment(folder: str, dataset: str, arms: int = 2, epochs: int = 20, seen: float = 0.0) -> Experiment:
    methods = ("baseline", "ralr", "scaled")[:arms]
    return Experiment(
        Path(folder), dataset, epochs, {m: {0: Path(folder) / m / "seed0"} for m in methods}, seen
    )


@pytest.mark.parametrize(
    ("name", "folder", "reason"),
    [
        ("curves", "b", "the paper's data set for this figure, cifar100, is not among these runs"),
        ("cam", "d", "`tiny-imagenet-50` is nearest to the paper's data set for this figure, tiny-imagenet"),
        (
            "embedding",
            "b",
            "its data set is the paper's for this figure, cifar10; of 3 such finished recipes",
        ),
    ],
)
def test_choose_experiment_prefers_the_papers_data_then_images_then_epochs(name, folder, reason) -> None:
    found = [
        experiment("a", "cifar10", arms=3, epochs=300, seen=2.4e6),  # of a small subset
        experiment("c", "cifar10", arms=3, epochs=10, seen=4.5e5),
        experiment("b", "cifar10", seen=9e6),
        experiment("d", "tiny-imagenet-50", arms=2),
    ]
    chosen, why = choose_experiment(found, name)
    assert chosen.folder == Path(folder)
    assert why.startswith(reason)
    assert "; 20 epochs" in why


def test_choose_experiment_of_runs_that_recorded_no_images_takes_the_longest() -> None:
    found = [experiment("a", "cifar10", arms=3), experiment("b", "cifar10", epochs=300)]
    assert choose_experiment(found, "embedding")[0].folder == Path("b")


def test_choose_experiment_prefers_runs_that_kept_what_every_figure_needs() -> None:
    """Runs of a study, of which only the last state is published, have seen more images; Figure 2 cannot be drawn."""
    study = replace(experiment("a", "cifar10", seen=1e6), whole=False)
    found = [study, experiment("b", "cifar10", seen=9e5)]
    assert choose_experiment(found, "activations")[0].folder == Path("b")
    assert choose_experiment([study], "activations")[0] is study


def test_figures_of_the_published_runs_are_of_those_on_all_images(capsys) -> None:
    found = find_experiments(Path(__file__).parents[2] / "checkpoints")
    chosen, why = choose_experiment(found, "curves")
    assert (chosen.folder.name, round(chosen.images_seen, -3)) == ("cifar10-resnet20-short", 899000)
    assert "trained on the most images; 20 epochs, 898,560 images" in why
    assert capsys.readouterr().err == ""  # all are finished


def test_find_experiments_takes_finished_pairs_only(trained_pair: Path) -> None:
    (found,) = find_experiments(trained_pair)
    assert found.images_seen == pytest.approx(3 * 72)  # three epochs of three quarters of 96
    assert (found.arms, found.seed, found.dataset, found.epochs) == (["baseline", "ralr"], 0, "squares", 3)
    with pytest.raises(InputError, match="no recipe with a finished baseline and a finished ralr run"):
        find_experiments(next(trained_pair.iterdir()) / "baseline")


def test_choose_epochs_takes_the_nearest_kept_to_two_thirds(
    trained_pair: Path, make_recipe, tmp_path: Path
) -> None:
    (found,) = find_experiments(trained_pair)
    assert [Path(c).name for c in choose_epochs(found)] == ["seed0@2", "seed0", "seed0@2", "seed0"]
    with pytest.raises(InputError, match="have kept no earlier epoch in common"):
        choose_epochs(experiment(str(tmp_path), "squares"))


def test_figures_draws_all_four_and_says_what_from(
    cli, trained_pair: Path, squares_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cli("figures", "--runs", trained_pair, "--data", squares_root, "--out", out, "-q").succeeded()
    for stem in ("curves", "activations", "cam", "embedding"):
        assert {(out / f"{stem}.{s}").is_file() for s in ("pdf", "png", "csv")} == {True}
    for number, name in enumerate(("curves", "activations", "cam", "embedding"), 1):
        (line,) = (line for line in done.err.splitlines() if line.startswith(f"Figure {number} ({name}): "))
        assert "squares-resnet20" in line and "baseline, ralr; the paper's data set" in line


def test_figures_without_the_images_draws_the_curves(cli, trained_pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli("figures", "--runs", trained_pair, "--data", tmp_path / "none", "--out", out, "-q")
    assert done.code == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "curves",
        "curves.caption.tex",
        "curves.caption.txt",
        "curves.csv",
        "curves.pdf",
        "curves.png",
    ]
    assert done.err.splitlines()[-1] == (
        "ralr-viz: not drawn: activations, cam, embedding; the reasons are above"
    )
    assert "Figure 4 (embedding) was not drawn: " in done.err


def test_find_experiments_says_what_it_leaves_out_unfinished(tmp_path: Path) -> None:
    said: list[str] = []
    for method in ("baseline", "ralr"):
        writer = RunWriter(tmp_path / "R" / method / "seed0", method=method)
        writer.log(epoch=1, val_acc=50.0)
        if method == "baseline":
            writer.finish()
        writer.close()
    with pytest.raises(InputError, match="no recipe with a finished baseline"):
        find_experiments(tmp_path, said.append)
    assert [line.endswith("ralr/seed0: left out, it is running, not finished") for line in said] == [True]
