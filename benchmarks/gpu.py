"""One table for a GPU: training, class activation maps, Hessian-vector products and t-SNE beside what a user would write.

Training: ResNet-20, ResNet-110 and WRN-28-10 against the expert's loop of `training.py` (bf16, channels_last, images on the
device, crops by one gather), eager and compiled. Maps: against grad-cam, both in fp32, and ralr-viz in bf16. Products:
against curvlinops. t-SNE runs on the processor in any case: against scikit-learn. Weights are as they begin: this is about speed
alone. `--device cpu` runs the same in small.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timing import (
    Timed,
    make_parser,
    measure,
    print_machine,
    print_table,
    run,
    say,
    speedup,
    stopwatch,
    synchronise,
)
from torch import nn
from training import COMPILED, EAGER, EXPERT, RECIPE, ExpertLoop, PackageLoop
from tsne import Maps

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.spectrum.hessian import HessianOperator, rademacher
from ralr_viz.data import Dataset, data_root, load_dataset
from ralr_viz.data.augment import normalise_batch
from ralr_viz.models import build_model
from ralr_viz.recipe import load_recipe
from ralr_viz.runtime.device import configure, resolve_runtime

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated parts of torch in its dependencies
    from curvlinops import HessianLinearOperator

Sides = tuple[str, str, int, dict[str, Timed]]
"""Task, unit of the work of a repeat, that work, and the sides, the user's first."""


def training_sides(args: argparse.Namespace, dataset: Dataset, network: str) -> Sides:
    recipe = dataclasses.replace(
        load_recipe(RECIPE), dataset=args.dataset, model=network, batch=args.batch, validation=0.0
    )
    runtime = resolve_runtime(args.device, "bf16")
    configure(runtime)
    root = data_root(args.data)
    loops: dict[str, ExpertLoop | PackageLoop] = {
        EXPERT: ExpertLoop(recipe, dataset, args.device),
        EAGER: PackageLoop(recipe, root, runtime),
    }
    if args.compile:
        loops[COMPILED] = PackageLoop(recipe, root, resolve_runtime(args.device, "bf16", compile=True))
    return (
        f"training, {network}", "images", args.steps * args.batch,
        {side: partial(loop.time, args.steps) for side, loop in loops.items()},
    )  # fmt: skip


def cam_sides(args: argparse.Namespace, dataset: Dataset) -> Sides:
    images, labels = (
        np.array(dataset.test.images[: args.images]),
        np.array(dataset.test.labels[: args.images]),
    )
    model = build_model("resnet20", dataset.num_classes).eval().to(args.device)
    scale = [torch.tensor(values, device=args.device) for values in (dataset.mean, dataset.std)]
    x = normalise_batch(torch.from_numpy(images).to(args.device), *scale).contiguous()

    def ours(precision: str) -> str:
        return explain(
            model, images, mean=dataset.mean, std=dataset.std, targets=labels, device=args.device, precision=precision
        ).layer  # fmt: skip

    layer = ours("fp32")

    def theirs() -> None:
        with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
            for first in range(0, len(x), 32):
                targets = [ClassifierOutputTarget(int(label)) for label in labels[first : first + 32]]
                cam(input_tensor=x[first : first + 32], targets=targets)

    sides = {
        "grad-cam, fp32": theirs,
        "ralr-viz, fp32": partial(ours, "fp32"),
        "ralr-viz, bf16": partial(ours, "bf16"),
    }
    return "maps, resnet20", "images", len(images), {side: stopwatch(act) for side, act in sides.items()}


def product_sides(args: argparse.Namespace, dataset: Dataset) -> Sides:
    images, labels = (
        np.array(dataset.train.images[: args.images]),
        np.array(dataset.train.labels[: args.images]),
    )
    model = build_model("resnet20", dataset.num_classes).eval()
    objective = classification_objective(
        model, images, labels, mean=dataset.mean, std=dataset.std, runtime=resolve_runtime(args.device, "fp32"), batch=128
    )  # fmt: skip
    operator = HessianOperator(objective)
    model = model.to(args.device)
    scale = [torch.tensor(values, device=args.device) for values in (dataset.mean, dataset.std)]
    x = normalise_batch(torch.from_numpy(images).to(args.device), *scale).contiguous()
    y = torch.from_numpy(labels).long().to(args.device)
    package = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()),
        list(zip(x.split(128), y.split(128), strict=True)), check_deterministic=False,
    )  # fmt: skip
    vector = operator.from_numpy(rademacher(operator.size, 1, 0))

    def theirs() -> None:
        package @ vector[:, 0]
        synchronise(args.device)

    def ours() -> None:
        operator(vector)
        synchronise(args.device)

    return "Hessian-vector product, resnet20", "products", 1, {
        "curvlinops": stopwatch(theirs), "ralr-viz": stopwatch(ours)
    }  # fmt: skip


def tsne_sides(args: argparse.Namespace) -> Sides:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1.5, (10, 64))
    points = centres[rng.integers(0, 10, args.points)] + rng.normal(0, 1, (args.points, 64))
    sides = Maps(points, min(30, args.points // 4), args.threads, 0).sides()
    return f"t-SNE of {args.points:,} points, on the processor", "maps", 1, sides


def all_sides(args: argparse.Namespace) -> Iterator[Sides]:
    dataset = load_dataset(args.dataset, data_root(args.data))
    for network in args.networks:
        yield training_sides(args, dataset, network)
    yield cam_sides(args, dataset)
    yield product_sides(args, dataset)
    yield tsne_sides(args)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--networks", nargs="*", default=["resnet20", "resnet110", "wrn-28-10"])
    parser.add_argument("--batch", type=int, default=512, help="of training")
    parser.add_argument("--steps", type=int, default=90, help="of training, in a repeat")
    parser.add_argument("--images", type=int, default=5000, help="of maps and products")
    parser.add_argument("--points", type=int, default=10_000, help="of t-SNE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print_machine(
        args.threads, "torchvision", "grad-cam", "curvlinops-for-pytorch", "openTSNE", "scikit-learn"
    )
    print(torch.cuda.get_device_name() if args.device == "cuda" else "no GPU: the processor")
    rows = []
    for task, unit, work, sides in all_sides(args):
        for timed in sides.values():
            timed()  # the warm-up
        say(task)
        found = measure(sides, args.repeats, work)
        user = next(iter(found.values()))
        rows += [
            (task, side, f"{t.show_rate()[0]} {unit}/s", t.show_rate()[1], f"{speedup(t, user):.2f}×")
            for side, t in found.items()
        ]
    print_table(("task", "side", "speed", "min–max", "against the user's"), rows)


if __name__ == "__main__":
    run(main)
