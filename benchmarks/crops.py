"""Random-resized crops of photographs by `CropFeeder`, against Pillow and a DataLoader; images per CPU-second.

The usual way decodes each JPEG with Pillow and draws a crop by torchvision's RandomResizedCrop, RandomHorizontalFlip and
ToTensor in the workers of a DataLoader; ralr-viz cuts from the store, whose images were decoded once. Both sides end with
a batch in memory, of float32 or of uint8, which is a quarter to send to a device.

What counts is CPU time, of the process and its workers, since a machine may be busy.
"""

from __future__ import annotations

import io
import resource
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import Timed, make_parser, measure, print_machine, print_table, run, speedup, verdict

from ralr_viz.data import load_dataset
from ralr_viz.data.crops import CropFeeder, plan_crops
from ralr_viz.data.dataset import PhotographSplit
from ralr_viz.data.ingest import Intake, write_store
from ralr_viz.data.store import read_store

RATIO_TARGET = 5.0
TARGETS = {(256, 224): 1500.0, (512, 448): 500.0}


def make_photographs(n: int, short: int, root: Path) -> PhotographSplit:
    """A store of n smooth pictures of an aspect ratio of 4:3, half of them upright."""
    rng = np.random.default_rng(0)
    shapes = [(short, short * 4 // 3) if i % 2 else (short * 4 // 3, short) for i in range(n)]
    images = []
    for height, width in shapes:
        coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        images.append(np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)))
    intake = Intake(
        ("a",), ("a",), np.arange(n + 1) == n, np.zeros(n + 1, np.int64), None, iter([[*images, images[0]]])
    )
    split = read_store(write_store(intake, root, f"photographs-{short}")).train
    assert isinstance(split, PhotographSplit)
    return split


class Files(torch.utils.data.Dataset):
    """What a user writes."""

    def __init__(self, contents: list[bytes], size: int) -> None:
        from torchvision import transforms

        self.contents = contents
        self.look = transforms.Compose(
            [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.look(Image.open(io.BytesIO(self.contents[i])).convert("RGB"))


def to_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def cpu_seconds() -> float:
    """Of this process, its threads and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def usual(contents: list[bytes], size: int, batch: int, workers: int) -> Timed:
    def timed() -> float:
        begin = cpu_seconds()
        loader = torch.utils.data.DataLoader(Files(contents, size), batch, shuffle=True, num_workers=workers)
        for _ in loader:
            pass
        del loader
        return cpu_seconds() - begin

    return timed


def ours(split: PhotographSplit, size: int, batch: int, threads: int, epochs: int) -> Timed:
    feeder = CropFeeder(split.photographs, split.labels, size, threads=threads)
    n = len(split)

    def timed() -> float:
        begin = cpu_seconds()
        for epoch in range(epochs):
            plan = plan_crops(0, epoch, np.arange(n), split.photographs.shapes)
            for _ in feeder.feed(plan, [(a, min(a + batch, n)) for a in range(0, n, batch)]):
                pass
        return (cpu_seconds() - begin) / epochs

    return timed


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="photographs of the data root [default: generated ones]")
    parser.add_argument("--images", type=int, default=512, help="number of generated ones")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4, help="of ralr-viz in a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print_machine(args.threads, "torchvision", "pillow")
    rows, lines = [], []
    with tempfile.TemporaryDirectory() as folder:
        for (short, size), target in TARGETS.items():
            if args.dataset:
                split = load_dataset(args.dataset, args.data).train
                if not isinstance(split, PhotographSplit):
                    parser.error(f"{args.dataset} has no photographs")
            else:
                split = make_photographs(args.images, short, Path(folder))
            sides = {
                "Pillow + DataLoader": usual(
                    list(map(to_jpeg, split.photographs)), size, args.batch, args.threads
                ),
                "ralr-viz": ours(split, size, args.batch, args.threads, args.epochs),
            }
            for timed in sides.values():
                timed()
            times = measure(sides, args.repeats, len(split))
            slow, fast = times["Pillow + DataLoader"], times["ralr-viz"]
            what = f"{args.dataset or short} → {size}"
            rows += [(what, side, *t.show_rate(), f"{speedup(t, slow):.2f}×") for side, t in times.items()]
            lines.append(verdict(f"{what}, images per CPU-second", fast.rate, target, ""))
            lines.append(verdict(f"{what}, against Pillow + DataLoader", speedup(fast, slow), RATIO_TARGET))
    print_table(("photographs", "side", "images per CPU-second", "min–max", "against the usual way"), rows)
    for line in lines:
        print(line)


if __name__ == "__main__":
    run(main)
