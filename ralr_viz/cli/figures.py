"""``ralr-viz figures``: the paper's four figures from a folder of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_note
from ralr_viz.cli.noun_command import make_command
from ralr_viz.errors import InputError
from ralr_viz.nouns import NOUNS

if TYPE_CHECKING:
    from ralr_viz.results.run import RunRecord

# What the paper draws each figure from; the text does not say it of Figure 2, whose neighbours use CIFAR-100.
FIGURES = {
    "curves": ("Figure 1", "cifar100"),
    "activations": ("Figure 2", "cifar100"),
    "cam": ("Figure 3", "tiny-imagenet"),
    "embedding": ("Figure 4", "cifar10"),
}
METHODS = ("baseline", "ralr", "scaled")


@dataclass(frozen=True)
class Experiment:
    """Finished runs of one recipe.

    Attributes:
        folder: Where they are, ``RUNS/RECIPE``.
        dataset: What they were trained on.
        epochs: Length of the training.
        runs: Method to seed to run directory; ``baseline`` and ``ralr`` are there.
        images_seen: Training images that a run was shown, repeats counted; 0 where not recorded.
        whole: Whether the arms have kept an earlier state in common, so that every figure can be drawn.
    """

    folder: Path
    dataset: str
    epochs: int
    runs: dict[str, dict[int, Path]]
    images_seen: float = 0.0
    whole: bool = True

    @property
    def arms(self) -> list[str]:
        """Methods in the order of the rows."""
        return [method for method in METHODS if method in self.runs]

    @property
    def seed(self) -> int:
        """The lowest seed that every arm has."""
        return min(set.intersection(*(set(self.runs[arm]) for arm in self.arms)))


def figures(
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Folder of runs, such as runs or checkpoints.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for figures and numbers.")],
    data: options.Data = None,
    limit: options.Limit = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """The paper's four figures from the runs in a folder; says which runs it took, and why.

    A figure that cannot be drawn, for example because its images are not here, does not keep the others.

    Example: ralr-viz figures --runs checkpoints --out out
    """
    from ralr_viz.cli import cam, curves

    experiments = find_experiments(runs)
    common: dict[str, Any] = {"out": out, "style": style, "force": force, "quiet": quiet}
    where: dict[str, Any] = {"data": data, "limit": limit, "device": device, "precision": precision}

    def last(e: Experiment) -> list[str]:
        return [str(e.runs[arm][e.seed]) for arm in e.arms]

    def draw_curves(e: Experiment) -> None:
        curves.curves(run=[path for arm in e.arms for _, path in sorted(e.runs[arm].items())], **common)

    def draw_activations(e: Experiment) -> None:
        make_command(NOUNS["activations"])(ckpt=choose_epochs(e), **where, **common)

    def draw_cam(e: Experiment) -> None:
        cam.cam(ckpt=last(e), **where, **common)

    def draw_embedding(e: Experiment) -> None:
        make_command(NOUNS["embedding"])(ckpt=last(e), **where, **common)

    drawers: dict[str, Callable[[Experiment], None]] = {
        "curves": draw_curves,
        "activations": draw_activations,
        "cam": draw_cam,
        "embedding": draw_embedding,
    }
    failed = []
    for name, drawer in drawers.items():
        chosen, why = choose_experiment(experiments, name)
        # said even with --quiet: which runs a figure shows is no progress
        arms = ", ".join(chosen.arms)
        print_note(f"{FIGURES[name][0]} ({name}): {chosen.folder}, {arms}; {why}")
        try:
            drawer(chosen)
        except InputError as error:
            print_note(f"{FIGURES[name][0]} ({name}) was not drawn: {error}")
            failed.append(name)
    if failed:
        raise InputError(f"not drawn: {', '.join(failed)}; the reasons are above")


def find_experiments(folder: Path) -> list[Experiment]:
    """The recipes of a folder that have a finished baseline and a finished RALR run of one seed.

    Raises:
        InputError: There is none.
    """
    from ralr_viz.results.run import find_runs, load_run

    found: dict[Path, dict[str, dict[int, tuple[Path, RunRecord]]]] = {}
    for path in find_runs(folder):
        record = load_run(path)
        if record.method in METHODS and record.status != "finished":
            print_note(f"{path}: left out, it is {record.status}, not finished")
        if record.status == "finished" and record.method in METHODS and record.seed is not None:
            arms = found.setdefault(path.parent.parent, {})
            arms.setdefault(record.method, {})[record.seed] = (path, record)
    experiments = []
    for group, arms in found.items():
        if not {"baseline", "ralr"} <= set(arms) or not set(arms["baseline"]) & set(arms["ralr"]):
            continue
        common = set(arms["baseline"]) & set(arms["ralr"])
        kept = {method: runs for method, runs in arms.items() if common & set(runs)}
        if not set.intersection(*(set(runs) for runs in kept.values())):
            kept.pop("scaled")
        one = next(iter(kept["ralr"].values()))[1]
        seen = 0.0 if math.isnan(one.images_seen) else one.images_seen
        paths = {method: {seed: path for seed, (path, _) in runs.items()} for method, runs in kept.items()}
        dataset = str(one.recipe.get("dataset", ""))
        experiment = Experiment(group, dataset, _epochs(one.recipe), paths, seen)
        experiments.append(replace(experiment, whole=bool(_earlier_epochs(experiment))))
    if not experiments:
        raise InputError(
            f"`{folder}` has no recipe with a finished baseline and a finished ralr run of the same seed: "
            "train them by `ralr-viz pair RECIPE --control`"
        )
    return experiments


def choose_experiment(experiments: Sequence[Experiment], name: str) -> tuple[Experiment, str]:
    """Which recipe a figure is drawn from, and why in words.

    The paper's data set goes first, then what every figure can be drawn from, then what was trained on most images,
    then more epochs (where the images were not recorded), then more arms, then the folder's name.
    """
    wanted = FIGURES[name][1]
    ranked = sorted(
        experiments,
        key=lambda e: (
            not e.dataset.startswith(wanted),
            not e.whole,
            -e.images_seen,
            -e.epochs,
            -len(e.arms),
            str(e.folder),
        ),
    )
    chosen = ranked[0]
    if chosen.dataset.startswith(wanted):
        why = f"its data set is the paper's for this figure, {wanted}"
        if chosen.dataset != wanted:
            why = f"`{chosen.dataset}` is nearest to the paper's data set for this figure, {wanted}"
    else:
        why = f"the paper's data set for this figure, {wanted}, is not among these runs"
    rivals = sum(e.dataset == chosen.dataset for e in experiments) - 1
    if rivals:
        why += f"; of {rivals + 1} such finished recipes the one that kept its states and was trained on the most images"
    shown = f", {chosen.images_seen:,.0f} images" if chosen.images_seen else ""
    return chosen, f"{why}; {chosen.epochs} epochs{shown}"


def choose_epochs(experiment: Experiment) -> list[str]:
    """``DIR@EPOCH`` pairs of each arm: its last epoch and, of those that all have kept, the nearest to 2/3.

    Raises:
        InputError: The arms have kept no earlier epoch in common.
    """
    last, common = experiment.epochs, _earlier_epochs(experiment)
    folders = [experiment.runs[arm][experiment.seed] for arm in experiment.arms]
    if not common:
        raise InputError(
            f"the runs in `{experiment.folder}` have kept no earlier epoch in common: train with "
            "--set keep=0.6666666666666666,1.0"
        )
    early = min(common, key=lambda epoch: (abs(epoch - 2 * last / 3), epoch))
    return [f"{folder}{at}" for folder in folders for at in (f"@{early}", "")]


def _earlier_epochs(experiment: Experiment) -> set[int]:
    """Epochs before the last whose state every arm has kept, at the seed that is drawn."""
    from ralr_viz.train.checkpoint import saved_epochs

    folders = [experiment.runs[arm][experiment.seed] for arm in experiment.arms]
    return set.intersection(*(set(saved_epochs(folder)) for folder in folders)) - {experiment.epochs}


def _epochs(recipe: Mapping[str, Any]) -> int:
    value = recipe.get("epochs")
    return value if isinstance(value, int) else 0
