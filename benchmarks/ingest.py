"""Ingest of 60,000 images by `import_dataset`, on one and two workers, against a loop over the zip; and `--help`.

The loop opens each image with Pillow, converts it to RGB and stacks the arrays, on one core. ralr-viz also hashes
the images, sorts them, checks them and writes the store, to a temporary folder. A worker is a thread that decodes;
the main thread reads, hashes and writes beside it.

`ralr-viz --help` is timed over several starts of a process.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import make_parser, measure, print_machine, print_table, run, say, speedup, stopwatch, verdict

from ralr_viz.data import import_dataset
from ralr_viz.data.picture import is_image_name

LOOP = "PIL loop"
HELP_TARGET = 0.5


def write_images(path: Path, n: int) -> Path:
    """A zip of n seeded 32×32 PNGs in ten classes, five sixths of them for training."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(n):
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))
            pixels = smooth // 2 + rng.integers(0, 32, (32, 32, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            split = "test" if i // 10 % 6 == 5 else "train"
            archive.writestr(f"{split}/class{i % 10}/{i:06}.png", buffer.getvalue())
    return path


def image_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if is_image_name(name)]


def read_by_loop(path: Path, names: list[str]) -> np.ndarray:
    """What a user writes: (n, H, W, 3) uint8."""
    with zipfile.ZipFile(path) as archive:
        return np.stack([np.asarray(Image.open(archive.open(name)).convert("RGB")) for name in names])


def ingest(path: Path, workers: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        import_dataset("benchmark", path, Path(root), workers=workers)


def print_help() -> None:
    """One start of the command line."""
    script = Path(sysconfig.get_path("scripts")) / "ralr-viz"
    command = [str(script)] if script.exists() else [sys.executable, "-m", "ralr_viz"]
    subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--from", dest="source", type=Path, help="a zip of class folders [default: generated PNGs]"
    )
    parser.add_argument("--images", type=int, default=60_000, help="number of generated PNGs")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--starts", type=int, default=15, help="of --help")
    args = parser.parse_args()
    print_machine(args.threads, "pillow")
    with tempfile.TemporaryDirectory() as folder:
        path = args.source
        if path is None:
            say(f"making {args.images:,} PNGs")
            path = write_images(Path(folder) / "generated.zip", args.images)
        names = image_names(path)
        read_by_loop(path, names[:100])  # the warm-up, with which Pillow loads its formats
        print(
            f"{len(names):,} images of {path.name}; {args.repeats} repeats in turn, after the loop has read 100 of them; "
            f"{args.starts} starts of --help after one"
        )
        sides = {LOOP: stopwatch(lambda: read_by_loop(path, names))}
        for workers in (1, 2):
            sides[f"ralr-viz, workers {workers}"] = stopwatch(lambda w=workers: ingest(path, w))
        times = measure(sides, args.repeats, len(names))
    print_help()
    start = measure({"--help": stopwatch(print_help)}, args.starts)["--help"]
    rows = [
        (side, *t.show_rate(), "images/s", f"{speedup(t, times[LOOP]):.2f}×") for side, t in times.items()
    ]
    rows.append(("ralr-viz --help", *start.show_seconds(), "s", ""))
    print_table(("side", "median", "min–max", "unit", "against the loop"), rows)
    one, two = times["ralr-viz, workers 1"], times["ralr-viz, workers 2"]
    print(f"two workers against the loop: {speedup(two, times[LOOP]):.4g}×; no target")
    print(f"two workers against one: {speedup(two, one):.4g}×; no target")
    print(verdict("ralr-viz --help", start.median, HELP_TARGET, " s", below=True))


if __name__ == "__main__":
    run(main)
