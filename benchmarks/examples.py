"""What the record of each example costs a training: the same epoch with and without, in one run on the CPU.

By-products of the step and of the evaluation are gathered on the device and written once an epoch; the target is 2 %
of the time of an epoch, evaluations included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from timing import clock, make_parser, measure, print_machine, print_table, run, say, verdict

from ralr_viz.data import data_root
from ralr_viz.recipe import load_recipe
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

WITH, WITHOUT = "examples=train,val", "no record"
TARGET = 1.02


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--subset", type=int, default=4000, help="training images")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    root = data_root(args.data)
    with tempfile.TemporaryDirectory() as name:
        folders = iter(Path(name) / str(i) for i in range(10_000))

        def train(examples: str) -> float:
            settings = [
                "epochs=2",
                "milestones=",
                "keep=",
                f"subset={args.subset}",
                f"dataset={args.dataset}",
            ]
            settings += [f"examples={examples}"] if examples else []
            recipe = load_recipe("cifar10-resnet20-short", settings)
            directory = prepare_run(recipe, "baseline", 0, next(folders))
            begin = clock()
            train_run(directory, root, device="cpu")
            return clock() - begin

        say("warming up")
        train("train,val")
        found = measure({WITH: lambda: train("train,val"), WITHOUT: lambda: train("")}, args.repeats)
    print_machine(args.threads)
    print_table(
        ("side", "seconds of two epochs", "min–max"), [(side, *t.show_seconds()) for side, t in found.items()]
    )
    print(verdict("time with a record", found[WITH].median / found[WITHOUT].median, TARGET, below=True))


if __name__ == "__main__":
    run(main)
