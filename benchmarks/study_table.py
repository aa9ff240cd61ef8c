"""The table of a study over 10,000 finished runs, against pandas and scipy on the same files.

The runs are generated: 2,500 cells (learning rates × epochs × methods) at four seeds, of which three in four are
compared with the baseline. The plain side reads every result.json with the json module, takes mean and standard
deviation of the last accuracies by a groupby and tests each cell against its baseline by scipy's Welch test.
ralr-viz plans the grid, reads env.json as well, asks after every other state that a run may be in, and compares
three accuracies of each run: Welch, paired by seed, permutations, Hedges' g, Holm. Both read files that were just
written, so the disk plays no part.

Planning is timed, too: the state of as many runs, of which half have finished, and the directories of the other
half are written.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from timing import make_parser, measure, print_machine, print_table, run, say, speedup, stopwatch, verdict

from ralr_viz.study.grid import Study
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.plan import compute_plan, prepare_plan
from ralr_viz.study.render import FORMATS, render_study
from ralr_viz.study.table import compute_study

PLAIN, OURS, TEXT = "pandas and scipy", "ralr-viz", "ralr-viz, the four formats"
PLANNING = "ralr-viz, planning"
METHODS = ("baseline", "ralr", "scaled", "noise")
SEEDS = 4
TARGET, PLANNING_TARGET = 10, 5


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="rounded up to 16 n²")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    side = math.isqrt(max(args.runs - 1, 0) // (len(METHODS) * SEEDS)) + 1
    with tempfile.TemporaryDirectory() as name:
        folder, study = Path(name), plan(side)
        directories = write_runs(study, folder)
        print_machine(args.threads, "pandas", "scipy")
        result = compute_study(plan(side), folder)  # the warm-up, too
        check(result.summaries[:, 0, 1:3], summarise_plainly(directories))
        print(f"{len(directories):,} runs, {len(study.cells):,} cells, {result.num_compared:,} comparisons")
        sides = {
            PLAIN: stopwatch(lambda: summarise_plainly(directories)),
            OURS: stopwatch(lambda: compute_study(plan(side), folder)),
            TEXT: stopwatch(lambda: [render_study(result, format) for format in FORMATS]),
            PLANNING: stopwatch(lambda: plan_half(side, folder)),
        }
        times = measure(sides, args.repeats)
    print_table(("side", "seconds", "min–max"), [(side, *t.show_seconds()) for side, t in times.items()])
    print(f"{PLAIN} over {OURS}: {speedup(times[OURS], times[PLAIN]):.4g}×; no target")
    print(verdict(f"table over {len(directories):,} runs", times[OURS].median, TARGET, " s", below=True))
    print(
        verdict(
            f"planning {len(directories):,} runs", times[PLANNING].median, PLANNING_TARGET, " s", below=True
        )
    )


def plan_half(side: int, folder: Path) -> None:
    """Plan as many runs, half of them new, and write their directories; they are deleted for the next repeat."""
    study = plan(side).with_seeds(range(SEEDS // 2, SEEDS // 2 + SEEDS))
    for directory in prepare_plan(compute_plan(study, folder, folder)):
        (directory / "recipe.toml").unlink()


def plan(side: int) -> Study:
    """A grid of side² × 4 cells at four seeds."""
    rates = [{"label": f"{0.1 + i / 1000:.3f}", "lr": 0.1 + i / 1000} for i in range(side)]
    epochs = [{"label": f"{n}", "epochs": n} for n in range(24, 24 + side)]
    methods = [{"label": method, "method": method} for method in METHODS]
    axes = {"lr": rates, "epochs": epochs, "method": methods}
    values: dict[str, Any] = {
        "seeds": list(range(SEEDS)),
        "base": {"recipe": "cifar10-resnet20-tiny"},
        "axes": [{"name": name, "values": choices} for name, choices in axes.items()],
        "table": {"reference": {"method": METHODS[0]}},
    }
    return build_study(values, "benchmark", "benchmark.toml")


def write_runs(study: Study, folder: Path) -> list[tuple[int, Path]]:
    """Finished runs with seeded accuracies; the index of the cell and the directory of each."""
    rng, found = np.random.default_rng(0), []
    env = {"device": "cpu", "precision": "fp32", "threads": 1, "torch": "2", "ralr_viz": "0", "data": "abc"}
    for i, cell in enumerate(study.cells):
        for seed in study.seeds:
            directory = study.directory(folder, cell, seed)
            directory.mkdir(parents=True)
            records = {name: {"test_acc": rng.normal(70, 0.3)} for name in ("last", "best", "median_last5")}
            result = {"epochs": cell.recipe.epochs, **records, "status": "finished"}
            (directory / "result.json").write_text(json.dumps(result))
            (directory / "env.json").write_text(json.dumps(env))
            found.append((i, directory))
    say(f"{len(found):,} runs written")
    return found


def summarise_plainly(directories: list[tuple[int, Path]]) -> np.ndarray:
    """Mean and standard deviation of each cell, (C, 2), after Welch's test of each against its baseline."""
    rows = [
        {"cell": i, "last": json.loads((directory / "result.json").read_text())["last"]["test_acc"]}
        for i, directory in directories
    ]
    frame = pd.DataFrame(rows)
    cells = {i: group.to_numpy() for i, group in frame.groupby("cell")["last"]}
    for i, values in cells.items():
        reference = i - i % len(METHODS)
        if reference != i:
            stats.ttest_ind(values, cells[reference], equal_var=False).confidence_interval()
    return frame.groupby("cell")["last"].agg(["mean", "std"]).to_numpy()


def check(ours: np.ndarray, plain: np.ndarray) -> None:
    """Both tables are the same."""
    np.testing.assert_allclose(ours, plain, rtol=1e-9)


if __name__ == "__main__":
    run(main)
