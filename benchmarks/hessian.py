"""Hessian-vector products: `HessianOperator` against `HessianLinearOperator` of curvlinops, on the CPU.

The same network, loss, images, batches and vectors, in fp32 and eval mode, all parameters. ralr-viz is timed as its
searches use it, forward mode over reverse mode, and differentiating twice backward, as it does where an operation has no
forward mode. The cost is also given in forward passes of the same images.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from timing import (
    PUBLISHED,
    make_parser,
    measure,
    print_machine,
    print_table,
    run,
    speedup,
    stopwatch,
    verdict,
)
from torch import Tensor, nn

from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.spectrum.hessian import HessianOperator, rademacher
from ralr_viz.data import data_root, load_dataset
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.train import load_checkpoint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated parts of torch in its dependencies
    from curvlinops import HessianLinearOperator

FORWARD, PACKAGE, TWICE, OURS = "forward pass", "curvlinops", "ralr-viz, twice backward", "ralr-viz"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--ckpt", default=PUBLISHED)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    checkpoint = load_checkpoint(args.ckpt)
    if checkpoint.mean is None or checkpoint.std is None:
        raise InputError(f"`{args.ckpt}` does not say its normalisation: choose another --ckpt")
    split = load_dataset(checkpoint.dataset or "cifar10", data_root(args.data)).train
    images, labels = np.array(split.images[: args.images]), np.array(split.labels[: args.images])
    objective = classification_objective(
        checkpoint.build(), images, labels, mean=checkpoint.mean, std=checkpoint.std,
        runtime=resolve_runtime("cpu", "fp32"), batch=args.batch,
    )  # fmt: skip
    ours, twice = HessianOperator(objective), HessianOperator(objective, forward_mode=False)

    package_model = checkpoint.build()
    mean, std = (torch.tensor(values) for values in (checkpoint.mean, checkpoint.std))
    x = normalise_batch(torch.from_numpy(images), mean, std).contiguous()
    y = torch.from_numpy(labels).long()
    batches = list(zip(x.split(args.batch), y.split(args.batch), strict=True))
    package = HessianLinearOperator(
        package_model, nn.CrossEntropyLoss(), list(package_model.parameters()), batches,
        check_deterministic=False,
    )  # fmt: skip

    vector = torch.from_numpy(rademacher(ours.size, 1, 0))
    print_machine(args.threads, "curvlinops-for-pytorch")
    found, theirs = ours(vector)[:, 0], package @ vector[:, 0]  # these are the warm-up, too
    twice(vector)
    objective.evaluate()
    print(
        f"{checkpoint.arch} ({checkpoint.label}), {len(images)} training images, batch {args.batch}, "
        f"{ours.size:,} parameters; {args.repeats} repeats in turn after a warm-up"
    )
    sides = {
        FORWARD: stopwatch(objective.evaluate),
        PACKAGE: stopwatch(lambda: package @ vector[:, 0]),
        TWICE: stopwatch(lambda: twice(vector)),
        OURS: stopwatch(lambda: ours(vector)),
    }
    times = measure(sides, args.repeats)
    print_table(
        ("side", "seconds", "min–max", "forward passes", "against curvlinops"),
        [
            (
                side,
                *t.show_seconds(),
                f"{t.median / times[FORWARD].median:.2f}",
                f"{t.median / times[PACKAGE].median:.3f}",
            )
            for side, t in times.items()
        ],
    )
    print(f"largest difference of the products, of the largest entry: {_difference(found, theirs):.2g}")
    print(f"curvlinops over ralr-viz twice backward: {speedup(times[TWICE], times[PACKAGE]):.4g}×; no target")
    print(verdict("curvlinops over ralr-viz", speedup(times[OURS], times[PACKAGE]), 2))


def _difference(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


if __name__ == "__main__":
    run(main)
