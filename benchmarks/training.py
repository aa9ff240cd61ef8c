"""Training speed of ralr-viz against the loop that a user would write, on the CPU.

Plain loop: fp32, DataLoader with PIL transforms (RandomCrop, RandomHorizontalFlip, ToTensor, Normalize) and as many
workers as cores, SGD with Nesterov momentum. ralr-viz: `train_step` on batches that are made as its own loop makes
them. Both train the same network with the same settings.

FLOPs are those of forward and backward by `torch.utils.flop_counter` (convolutions and matrix products, a
multiply-add is two); the peak is the fastest of the products of two large bf16 matrices that are timed in between.

--accuracy trains with the package in fp32 and in bf16 instead, same recipe and seed, and compares the accuracies.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import (
    Measurement,
    Timed,
    clock,
    make_parser,
    measure,
    print_machine,
    print_table,
    run,
    say,
    speedup,
    stopwatch,
    synchronise,
    verdict,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from ralr_viz.data import Dataset, data_root, load_dataset
from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.recipe import Recipe, load_recipe
from ralr_viz.runtime.device import Runtime, configure, resolve_runtime
from ralr_viz.runtime.ranks import ALONE
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.step import Totals, train_step
from ralr_viz.train.training import StepReport, Training

RECIPE = "cifar10-resnet20-short"
PLAIN, EXPERT = "plain torch loop, fp32", "expert's loop, bf16"
EAGER, COMPILED, PRODUCT = "ralr-viz", "ralr-viz, compiled", "bf16 product"
WARM_UP = 2


class PilImages(torch.utils.data.Dataset):
    """Augmented image and label, one at a time, as torchvision's data sets give them."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class PlainLoop:
    """What a user writes without ralr-viz."""

    def __init__(self, recipe: Recipe, dataset: Dataset, workers: int) -> None:
        transform = transforms.Compose(
            [
                transforms.RandomCrop(dataset.image_size, recipe.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean, dataset.std),
            ]
        )
        images = PilImages(np.array(dataset.train.images), dataset.train.labels, transform)
        self.loader = torch.utils.data.DataLoader(
            images, recipe.batch, shuffle=True, num_workers=workers, drop_last=True
        )
        torch.manual_seed(0)
        self.model = build_model(recipe.model, dataset.num_classes).train()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
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

    def _step(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()


class ExpertLoop:
    """What somebody writes who has read how fast loops are written."""

    def __init__(self, recipe: Recipe, dataset: Dataset, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.device, self.batch, self.pad = device, recipe.batch, recipe.crop_padding
        images = torch.from_numpy(np.array(dataset.train.images)).to(device).permute(0, 3, 1, 2)
        self.size, self.count = images.shape[-1], len(images)
        # padded once; channels last, as the convolutions want it
        self.images = nn.functional.pad(images, (self.pad,) * 4).contiguous(memory_format=torch.channels_last)
        self.labels = torch.from_numpy(np.array(dataset.train.labels)).long().to(device)
        self.mean = torch.tensor(dataset.mean, device=device).view(3, 1, 1) * 255
        self.std = torch.tensor(dataset.std, device=device).view(3, 1, 1) * 255
        self.model = build_model(recipe.model, dataset.num_classes).train()
        self.model.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
            fused=True,
        )
        self.time(WARM_UP)

    def time(self, steps: int) -> float:
        """Seconds of so many steps and of the order of an epoch."""
        begin = clock()
        order = torch.randperm(self.count, device=self.device)
        for step in range(steps):
            self._step(order[step * self.batch : (step + 1) * self.batch])
        synchronise(self.device)
        return clock() - begin

    def _step(self, chosen: Tensor) -> None:
        n, across = len(chosen), torch.arange(self.size, device=self.device)
        first = torch.randint(0, 2 * self.pad + 1, (2, n, 1), device=self.device)
        rows, columns = first + across
        columns = torch.where(torch.rand(n, 1, device=self.device) < 0.5, columns.flip(1), columns)
        x = self.images.permute(0, 2, 3, 1)[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        x = ((x.permute(0, 3, 1, 2) - self.mean) / self.std).to(torch.bfloat16)
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.model(x.contiguous(memory_format=torch.channels_last))
        nn.functional.cross_entropy(logits.float(), self.labels[chosen]).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class PackageLoop:
    """Steps of ralr-viz, from the uint8 images in memory to the new weights."""

    def __init__(self, recipe: Recipe, root: Path, runtime: Runtime) -> None:
        self.training, self.epoch = Training(open_task(recipe, root), "baseline", 0, runtime), 0
        self.model = self.training.model.train()
        self.totals = Totals.zero(1, runtime.device)
        say(
            f"{recipe.model}, warm-up {'with compilation ' * runtime.compile}{self.time(WARM_UP):.3g} s (excluded)"
        )

    def time(self, steps: int) -> float:
        """Seconds of so many steps and of the plan of an epoch."""
        training = self.training
        begin = clock()
        plan = training.feed.plan(0, self.epoch)
        for step in range(steps):
            batches = training.feed.load(plan, step, ALONE)
            train_step(
                training.network, training.optimizer, training.task, batches, self.totals, training.runtime
            )
        self.epoch += 1
        synchronise(training.runtime.device.type)
        return clock() - begin


def count_flops(network: str, classes: int, size: int) -> float:
    """FLOPs of forward and backward, of one image."""
    model, x = build_model(network, classes).train(), torch.randn(2, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(x), torch.zeros(len(x), dtype=torch.int64)).backward()
    return counter.get_total_flops() / len(x)


def compare_speed(args: argparse.Namespace) -> None:
    """Images per second of all sides and networks."""
    dataset = load_dataset(args.dataset, data_root(args.data))
    runtime = resolve_runtime("cpu", args.precision)
    configure(runtime)
    print_machine(args.threads, "torchvision")
    print(
        f"{args.dataset}, batch {args.batch}, {args.workers} DataLoader workers, ralr-viz in {runtime.precision}; "
        f"{args.repeats} repeats in turn, warm-up and compilation excluded"
    )
    flops = {name: count_flops(name, dataset.num_classes, dataset.image_size) for name in args.networks}
    matrix = torch.randn(args.matmul, args.matmul).to(torch.bfloat16)
    product = stopwatch(lambda: torch.matmul(matrix, matrix))
    product()
    found: dict[str, dict[str, Measurement]] = {}
    products: list[float] = []
    for name, cost in flops.items():
        # a deeper network gets fewer steps, for about as long a repeat
        steps = max(2, round(args.steps * flops[args.networks[0]] / cost))
        sides = make_sides(args, name, dataset, steps) | {PRODUCT: product}
        found[name] = measure(sides, args.repeats, steps * args.batch)
        products += found[name].pop(PRODUCT).seconds
    peak = 2 * args.matmul**3 / min(products)
    print(f"peak: {peak / 1e9:.4g} GFLOP/s in products of {args.matmul}×{args.matmul} bf16 matrices")
    print_speed(found, flops, peak, runtime.precision)


def make_sides(args: argparse.Namespace, network: str, dataset: Dataset, steps: int) -> dict[str, Timed]:
    """The loops of one network, warmed up."""
    if (WARM_UP + steps) * args.batch > len(dataset.train):
        raise InputError(
            f"`--steps {args.steps}` takes more than the {len(dataset.train):,} training images: lower it"
        )
    recipe = dataclasses.replace(load_recipe(RECIPE), model=network, batch=args.batch, validation=0.0)
    runtime = resolve_runtime("cpu", args.precision)
    loops: dict[str, PlainLoop | ExpertLoop | PackageLoop] = {
        PLAIN: PlainLoop(recipe, dataset, args.workers),
        EXPERT: ExpertLoop(recipe, dataset),
        EAGER: PackageLoop(recipe, data_root(args.data), runtime),
    }
    if args.compile:
        runtime = resolve_runtime("cpu", args.precision, compile=True)
        loops[COMPILED] = PackageLoop(recipe, data_root(args.data), runtime)
    return {side: partial(loop.time, steps) for side, loop in loops.items()}


def print_speed(
    found: dict[str, dict[str, Measurement]], flops: dict[str, float], peak: float, precision: str
) -> None:
    """The table, and what became of the targets."""
    rows, verdicts = [], []
    for network, sides in found.items():
        for side, measured in sides.items():
            done = measured.rate * flops[network]
            share, ratio = 100 * done / peak, speedup(measured, sides[PLAIN])
            ratios = tuple(f"{speedup(measured, sides[other]):.2f}×" for other in (PLAIN, EXPERT))
            rate, spread = measured.show_rate()
            rows.append((network, side, rate, spread, f"{done / 1e9:.4g}", f"{share:.1f} %", *ratios))
            if side == COMPILED:
                verdicts.append(verdict(f"{network}, compiled against the plain loop", ratio, 2.7))
                if precision == "bf16":
                    against = speedup(measured, sides[EXPERT])
                    verdicts.append(verdict(f"{network}, compiled against the expert's loop", against, 1.1))
                if network == "resnet20" and precision == "bf16":
                    verdicts.append(verdict(f"{network}, compiled, share of the bf16 peak", share, 60, " %"))
    print_table(
        (
            "network",
            "side",
            "images/s",
            "min–max",
            "GFLOP/s",
            "of the bf16 peak",
            "against plain",
            "expert's",
        ),
        rows,
    )
    print("\n".join(verdicts))


def compare_accuracy(args: argparse.Namespace) -> None:
    """Test accuracy after the same short training in fp32 and in bf16."""
    print_machine(args.threads)
    # The learning rate falls within the few epochs: at the high one, accuracy jumps from epoch to epoch.
    recipe = dataclasses.replace(
        load_recipe(RECIPE), dataset=args.dataset, epochs=args.epochs, subset=args.subset, batch=args.batch,
        validation=0.0, keep=(), train_sample=500,
    )  # fmt: skip
    n = len(load_dataset(args.dataset, data_root(args.data)).test)
    rows, shares = [], []
    for precision in ("fp32", "bf16"):
        with tempfile.TemporaryDirectory() as folder:
            chosen = dataclasses.replace(recipe, precision=precision)
            directory = prepare_run(chosen, "baseline", args.seed, Path(folder))
            result = train_run(
                directory, data_root(args.data), device="cpu", compile=args.compile, report=_say_epoch
            )
        share = result["last"]["test_acc"] / 100
        shares.append(share)
        error = 100 * math.sqrt(share * (1 - share) / n)
        loss, rate = result["last"]["test_loss"], result["images_per_second"]
        rows.append((precision, f"{100 * share:.2f} ± {error:.2f}", f"{loss:.4f}", f"{rate:.4g}"))
    print(
        f"ResNet-20, {args.subset or 'all'} training images, {args.epochs} epochs, batch {args.batch}, seed "
        f"{args.seed}, {n:,} test images; ± is one binomial standard error"
    )
    print_table(("precision", "test accuracy, %", "test loss", "training images/s"), rows)
    difference = 100 * (shares[1] - shares[0])
    error = 100 * math.sqrt(sum(share * (1 - share) for share in shares) / n)
    print(
        f"bf16 minus fp32: {difference:+.2f} ± {error:.2f} points, the two taken as independent samples; "
        "how much two trainings differ by chance is not in it"
    )


def _say_epoch(report: StepReport) -> None:
    if report.record is not None:
        say(f"epoch {report.epoch} of {report.epochs}: test accuracy {report.record['test_acc']:.2f} %")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet110"])
    parser.add_argument(
        "--steps", type=int, default=20, help="a repeat, of the first network; the others' by FLOPs"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, help="of the DataLoader [default: one per core]")
    parser.add_argument("--matmul", type=int, default=4096, metavar="N", help="side of the bf16 matrices")
    parser.add_argument("--precision", default="auto", help="of ralr-viz: auto, bf16 or fp32")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--accuracy", action="store_true", help="compare fp32 with bf16 instead")
    parser.add_argument("--epochs", type=int, default=4, help="of --accuracy")
    parser.add_argument("--subset", type=int, default=20_000, help="training images of --accuracy; 0 is all")
    parser.add_argument("--seed", type=int, default=0, help="of --accuracy")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.workers is None:
        args.workers = args.threads
    if args.compile is None:
        args.compile = not args.accuracy
    (compare_accuracy if args.accuracy else compare_speed)(args)


if __name__ == "__main__":
    run(main)
