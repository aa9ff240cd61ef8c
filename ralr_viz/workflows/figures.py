"""The paper's four figures from a folder of runs: which runs each is drawn from, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import NOUNS
from ralr_viz.results.movement import nearest_late
from ralr_viz.results.run import RunRecord, find_runs, load_run
from ralr_viz.train.checkpoint import saved_epochs
from ralr_viz.workflows.output import Say, be_silent, prepare_output, save_output
from ralr_viz.workflows.subjects import Ears, run_noun

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


@dataclass(frozen=True)
class FigureOptions:
    """Where figures go and what they are drawn from: as in `save_output` and `open_subject`."""

    data: Path | None = None
    limit: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    style: str = "icml"
    force: bool = False


def draw_figures(
    runs: Path,
    out: Path,
    options: FigureOptions,
    *,
    provenance: Mapping[str, str],
    progress: Progress | None = None,
    tell: Say,
    say: Say,
    warn: Say,
) -> None:
    """The paper's four figures from the runs in a folder.

    A figure that cannot be drawn, for example because its images are not here, does not keep the others.

    Args:
        runs: Folder of runs.
        out: Folder of figures and numbers.
        options: See there.
        provenance: Kept with every result; its ``command`` says who asks.
        progress: Called as ``progress(done, total, what)``.
        tell: Called with the numbers of each figure, line by line, and the paths that were written.
        say: Called with notes.
        warn: Called with which runs each figure shows, and why one was not drawn.

    Raises:
        InputError: There are no such runs, or a figure was not drawn.
    """
    experiments = find_experiments(runs, warn)
    failed = []
    for name, (figure, _) in FIGURES.items():
        chosen, why = choose_experiment(experiments, name)
        warn(f"{figure} ({name}): {chosen.folder}, {', '.join(chosen.arms)}; {why}")
        try:
            force = prepare_output(
                out,
                name,
                style=options.style,
                force=options.force,
                command=provenance.get("command", ""),
            )
            given = _SOURCES[name](chosen) | {
                "data": options.data,
                "limit": options.limit,
                "device": options.device,
                "precision": options.precision,
            }
            result = run_noun(NOUNS[name], given, provenance=provenance, ears=Ears(progress, say, warn))
            for line in result.describe():
                tell(line)
            save_output(result, out, name, style=options.style, force=force, saved=tell, note=say)
        except InputError as error:
            warn(f"{figure} ({name}) was not drawn: {error}")
            failed.append(name)
    if failed:
        raise InputError(f"not drawn: {', '.join(failed)}; the reasons are above")


def _all_runs(experiment: Experiment) -> dict[str, Any]:
    return {"run": [path for arm in experiment.arms for _, path in sorted(experiment.runs[arm].items())]}


def _last_states(experiment: Experiment) -> dict[str, Any]:
    return {"ckpt": [str(experiment.runs[arm][experiment.seed]) for arm in experiment.arms]}


def _two_states(experiment: Experiment) -> dict[str, Any]:
    return {"ckpt": choose_epochs(experiment)}


_SOURCES: Mapping[str, Callable[[Experiment], dict[str, Any]]] = {
    "curves": _all_runs,
    "activations": _two_states,
    "cam": _last_states,
    "embedding": _last_states,
}


def find_experiments(folder: Path, warn: Say = be_silent) -> list[Experiment]:
    """The recipes of a folder that have a finished baseline and a finished RALR run of one seed.

    Args:
        folder: Of runs.
        warn: Called with each run that is left out.

    Raises:
        InputError: There is none.
    """
    found: dict[Path, dict[str, dict[int, tuple[Path, RunRecord]]]] = {}
    for path in find_runs(folder):
        record = load_run(path)
        if record.method in METHODS and record.status != "finished":
            warn(f"{path}: left out, it is {record.status}, not finished")
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
    common = _earlier_epochs(experiment)
    folders = [experiment.runs[arm][experiment.seed] for arm in experiment.arms]
    if not common:
        raise InputError(
            f"the runs in `{experiment.folder}` have kept no earlier epoch in common: train with "
            "--set keep=0.6666666666666666,1.0"
        )
    early = nearest_late(common, experiment.epochs)
    return [f"{folder}{at}" for folder in folders for at in (f"@{early}", "")]


def _earlier_epochs(experiment: Experiment) -> set[int]:
    """Epochs before the last whose state every arm has kept, at the seed that is drawn."""
    folders = [experiment.runs[arm][experiment.seed] for arm in experiment.arms]
    return set.intersection(*(set(saved_epochs(folder)) for folder in folders)) - {experiment.epochs}


def _epochs(recipe: Mapping[str, Any]) -> int:
    value = recipe.get("epochs")
    return value if isinstance(value, int) else 0
