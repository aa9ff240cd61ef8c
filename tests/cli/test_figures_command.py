"""Which runs `figures` takes, and that one missing figure does not keep the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ralr_viz.cli.figures import Experiment, choose_epochs, choose_experiment, find_experiments
from ralr_viz.errors import InputError


def experiment(folder: str, dataset: str, arms: int = 2, epochs: int = 20) -> Experiment:
    methods = ("baseline", "ralr", "scaled")[:arms]
    return Experiment(Path(folder), dataset, epochs, {m: {0: Path(folder) / m / "seed0"} for m in methods})


@pytest.mark.parametrize(
    ("name", "folder", "reason"),
    [
        ("curves", "b", "the paper's data set for this figure, cifar100, is not among these runs"),
        ("cam", "d", "`tiny-imagenet-50` is nearest to the paper's data set for this figure, tiny-imagenet"),
        ("embedding", "b", "its data set is the paper's for this figure, cifar10; of 3 such recipes"),
    ],
)
def test_choose_experiment_prefers_the_papers_data_then_arms_then_epochs(name, folder, reason) -> None:
    found = [
        experiment("a", "cifar10", epochs=300),
        experiment("c", "cifar10", arms=3, epochs=10),
        experiment("b", "cifar10", arms=3),
        experiment("d", "tiny-imagenet-50", arms=2),
    ]
    chosen, why = choose_experiment(found, name)
    assert chosen.folder == Path(folder)
    assert why.startswith(reason)
    assert why.endswith("; 20 epochs")


def test_find_experiments_takes_finished_pairs_only(trained_pair: Path) -> None:
    (found,) = find_experiments(trained_pair)
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
        (line,) = (line for line in done.lines if line.startswith(f"Figure {number} ({name}): "))
        assert "squares-resnet20" in line and "baseline, ralr; the paper's data set" in line


def test_figures_without_the_images_draws_the_curves(cli, trained_pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli("figures", "--runs", trained_pair, "--data", tmp_path / "none", "--out", out, "-q")
    assert done.code == 2
    assert sorted(path.name for path in out.iterdir()) == ["curves", "curves.csv", "curves.pdf", "curves.png"]
    assert done.err.splitlines()[-1] == (
        "ralr-viz: not drawn: activations, cam, embedding; the reasons are above"
    )
    assert "Figure 4 (embedding) was not drawn: " in done.err
