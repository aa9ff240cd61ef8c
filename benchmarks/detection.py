"""Training a small SSD: ralr-viz against torchvision's reference loop on the same network, on the CPU.

Both from the images in memory to the new weights: trunk, priors, images, batch and optimizer are the same. torchvision
augments as its reference for SSD does (photometric distortion, zoom-out, IoU crop, flip; then the network resizes), an
image at a time in DataLoader workers, matches priors image by image and reads the loss each step; ralr-viz makes each
image as one window in threads.
"""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from timing import clock, make_parser, measure, print_machine, print_table, run, say, speedup, verdict
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.transforms import v2

from ralr_viz.data import data_root
from ralr_viz.recipe import load_recipe
from ralr_viz.runtime.device import Runtime, configure, resolve_runtime
from ralr_viz.runtime.ranks import ALONE
from ralr_viz.tasks.detection.network import SmallSSD
from ralr_viz.tasks.detection.priors import small_levels
from ralr_viz.tasks.detection.task import Detection
from ralr_viz.train.step import Totals, train_step
from ralr_viz.train.training import Training

REFERENCE, PACKAGE = "torchvision's reference loop", "ralr-viz"
WARM_UP = 2


class Trunk(nn.Module):
    """The maps of a `SmallSSD` before its heads, as torchvision wants them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.network = SmallSSD(1, size)
        self.network.heads = nn.Identity()

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((str(i), made) for i, made in enumerate(self.network(x)))


class Scenes(torch.utils.data.Dataset):
    """Image and target of a split, one at a time, augmented by torchvision's v2 transforms."""

    def __init__(self, task: Detection) -> None:
        self.split = task.splits["train"]
        fill = {tv_tensors.Image: [255 * value for value in task.dataset.mean]}
        self.transform = v2.Compose(
            [
                v2.RandomPhotometricDistort(),
                v2.RandomZoomOut(fill=fill, side_range=(1.0, max(task.recipe.expand, 1.001))),
                v2.RandomIoUCrop(),
                v2.RandomHorizontalFlip(p=0.5),
                v2.ToDtype(torch.float, scale=True),
                v2.SanitizeBoundingBoxes(),
                v2.ToPureTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: int) -> tuple[Tensor, dict[str, Tensor]]:
        pixels = torch.tensor(self.split.images[place]).permute(2, 0, 1)
        at = self.split.boxes.of(place)
        boxes = tv_tensors.BoundingBoxes(
            torch.tensor(self.split.boxes.corners[at], dtype=torch.float32).reshape(-1, 4),
            format="XYXY", canvas_size=(pixels.shape[1], pixels.shape[2]),
        )  # fmt: skip
        labels = torch.tensor(self.split.boxes.labels[at], dtype=torch.int64) + 1
        image, target = self.transform(tv_tensors.Image(pixels), {"boxes": boxes, "labels": labels})
        return image, target


def collate(rows: list[Any]) -> tuple[Any, ...]:
    """Lists of images and of targets."""
    return tuple(zip(*rows, strict=True))


class ReferenceLoop:
    """An epoch of torchvision's detection reference."""

    def __init__(self, task: Detection, workers: int) -> None:
        recipe, classes = task.recipe, task.dataset.num_classes + 1
        levels = small_levels(recipe.input_size)
        torch.manual_seed(0)
        self.model = SSD(
            Trunk(recipe.input_size),
            DefaultBoxGenerator([[2] for _ in levels], scales=[*(level.scale for level in levels), 1.0]),
            (recipe.input_size, recipe.input_size),
            classes,
            image_mean=list(task.dataset.mean),
            image_std=list(task.dataset.std),
            head=SSDHead([64] * len(levels), [level.shapes for level in levels], classes),
        ).train()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.clip = recipe.clip_norm
        self.loader = torch.utils.data.DataLoader(
            Scenes(task), recipe.batch, shuffle=True, num_workers=workers, collate_fn=collate, drop_last=True
        )

    def time(self, steps: int) -> float:
        """Seconds of so many steps; the start of the workers and the first steps do not count."""
        batches = iter(self.loader)
        for _ in range(WARM_UP):
            self._step(*next(batches))
        begin = clock()
        for _ in range(steps):
            self._step(*next(batches))
        return clock() - begin

    def _step(self, images: Any, targets: Any) -> None:
        loss = sum(self.model(list(images), list(targets)).values())
        assert math.isfinite(loss.item()), "the reference's loss is not finite"
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()


class PackageLoop:
    """Steps of ralr-viz."""

    def __init__(self, task: Detection, runtime: Runtime) -> None:
        self.training, self.epoch = Training(task, "baseline", 0, runtime), 0
        self.training.model.train()
        self.totals = Totals.zero(len(task.counted), runtime.device)
        say(f"warm-up {self.time(WARM_UP):.3g} s (excluded)")

    def time(self, steps: int) -> float:
        """Seconds of so many steps and of the plan of an epoch; the first steps do not count."""
        training = self.training
        plan = training.feed.plan(0, self.epoch)
        begin = clock()
        for step in range(min(WARM_UP + steps, plan.steps)):
            if step == WARM_UP:
                begin = clock()
            batches = training.feed.load(plan, step, ALONE)
            train_step(
                training.network, training.optimizer, training.task, batches, self.totals, training.runtime,
                training.task.recipe.clip_norm,
            )  # fmt: skip
        self.epoch += 1
        return clock() - begin


def count_parameters(model: nn.Module) -> int:
    """All of them."""
    return sum(p.numel() for p in model.parameters())


def main() -> None:
    """Print images a second of both, and their ratio."""
    parser = make_parser(__doc__)
    parser.add_argument("--recipe", default="digit-scenes-ssd-small")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="of the DataLoader")
    parser.add_argument("--precision", default="fp32", help="of ralr-viz")
    args: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = replace(
        load_recipe(args.recipe), batch=args.batch, validation=0.0, drop_last=True, threads=args.threads
    )
    task, runtime = Detection(recipe, data_root(args.data)), resolve_runtime("cpu", args.precision)  # type: ignore[arg-type]
    configure(runtime)
    args.steps = min(args.steps, task.count("train") // args.batch - WARM_UP)
    print_machine(args.threads, "torchvision")
    reference, package = ReferenceLoop(task, args.workers), PackageLoop(task, runtime)
    sizes = [count_parameters(loop) for loop in (reference.model, package.training.model)]
    assert sizes[0] == sizes[1], f"the networks differ: {sizes[0]:,} and {sizes[1]:,} parameters"
    print(
        f"{recipe.dataset}, {recipe.input_size} pixels, {sizes[0]:,} parameters, batch {args.batch}, {args.steps} steps, "
        f"{args.workers} DataLoader workers, ralr-viz in {runtime.precision}; {args.repeats} repeats in turn"
    )
    sides = {REFERENCE: lambda: reference.time(args.steps), PACKAGE: lambda: package.time(args.steps)}
    times = measure(sides, args.repeats, args.steps * args.batch)
    ratio = speedup(times[PACKAGE], times[REFERENCE])
    print_table(
        ("side", "images/s", "min–max", "against torchvision"),
        [(side, *t.show_rate(), f"{speedup(t, times[REFERENCE]):.2f}×") for side, t in times.items()],
    )
    print(verdict("ralr-viz against torchvision's reference loop", ratio, 2))


if __name__ == "__main__":
    run(main)
