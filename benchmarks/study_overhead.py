"""What a study's run costs beside its training: child process, imports, checks and files, on the CPU.

Some runs of one epoch on 200 of scikit-learn's digits are executed by the local engine, one after another, and the same
recipes are trained in this process, which has torch loaded and is warm. What the engine takes more for a run,
less the time of a bare `import torch`, is the overhead.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import make_parser, measure, print_machine, print_table, run, say, verdict

from ralr_viz.data import data_root, load_dataset
from ralr_viz.recipe import load_recipe
from ralr_viz.study.engine import run_all
from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.study.slots import LocalExecutor, Slot
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

ENGINE, HERE, IMPORT = "ralr-viz study run", "the training alone", "import torch"
TARGET = 3


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--count", type=int, default=3, help="runs of each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    settings = ["epochs=1", "milestones=", "keep=", "subset=200", "train_sample=100"]
    recipe = load_recipe("digits-resnet20", settings)
    root = data_root(args.data)
    load_dataset(recipe.dataset, root)  # built at its first use
    with tempfile.TemporaryDirectory() as name:
        folders = iter(Path(name) / str(i) for i in range(10_000))

        def prepare() -> list[Path]:
            folder = next(folders)
            return [prepare_run(recipe, "baseline", seed, folder) for seed in range(args.count)]

        def by_engine() -> float:
            directories, begin = prepare(), time.perf_counter()
            with LocalExecutor([Slot("cpu", args.threads)]) as executor:
                outcomes = run_all(directories, executor, ExecuteOptions(data=root))
            seconds = time.perf_counter() - begin
            if any(outcome.status != "finished" for outcome in outcomes):
                raise SystemExit(f"study_overhead.py: a run has not finished: {outcomes}")
            return seconds / args.count

        def here() -> float:
            directories, begin = prepare(), time.perf_counter()
            for directory in directories:
                train_run(directory, root, device="cpu")
            return (time.perf_counter() - begin) / args.count

        say("warming up")
        here()
        times = measure({ENGINE: by_engine, HERE: here, IMPORT: import_torch}, args.repeats)
    print_machine(args.threads)
    rows = [(side, *t.show_seconds()) for side, t in times.items()]
    print_table(("side", "seconds a run", "min–max"), rows)
    extra = times[ENGINE].median - times[HERE].median - times[IMPORT].median
    print(verdict("overhead of a run", extra, TARGET, " s", below=True))


def import_torch() -> float:
    """Seconds of a fresh interpreter that imports torch."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    run(main)
