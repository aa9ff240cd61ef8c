"""What checking the digest of a checkpoint costs, against loading the same file without.

Files are a run's state (``.pt``, with the momentum of every weight) and an export (``.safetensors``), of ResNet-20
and of as many float32 weights and tensors as ResNet-50 has. They lie in the memory of the system, the worst case: a
disk makes reading slower, and the check no slower. Loading is `load_checkpoint`, which every command calls; building
the network comes on top and is not counted. Reading and parsing alone is what a resume does before it takes the state
up. SHA-256, which the check does without, is timed beside it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from timing import make_parser, measure, print_machine, print_table, run, stopwatch, verdict
from torch import Tensor

from ralr_viz.models import build_model
from ralr_viz.models.checkpoint_file import pack_checkpoint, pack_weights, parse_checkpoint
from ralr_viz.models.digest import MARK, is_whole
from ralr_viz.train.checkpoint import load_checkpoint

LOAD, READ, CHECK, SHA = "load_checkpoint", "read and parse", "check the digest", "SHA-256"
TARGET = 10.0
HEADER = {"format": 1, "arch": "resnet20", "num_classes": 10}


def make_files(folder: Path, name: str, weights: dict[str, Tensor]) -> list[Path]:
    """``NAME.pt`` and ``NAME.safetensors``."""
    momentum = {i: {"momentum_buffer": values.clone()} for i, values in enumerate(weights.values())}
    state: dict[str, Any] = {"header": HEADER, "model": weights, "optimizer": {"state": momentum}}
    files = {".pt": pack_checkpoint(state), ".safetensors": pack_weights(weights, HEADER)}
    for suffix, data in files.items():
        (folder / f"{name}{suffix}").write_bytes(data)
    return [folder / f"{name}{suffix}" for suffix in files]


def measure_file(path: Path, repeats: int) -> tuple[list[tuple[object, ...]], float]:
    """Rows of the table, and the price of the check in per cent of loading."""
    data = path.read_bytes()
    at = data.index(MARK)
    # the mark is what the reader looks for: without, the file is one of those that have no digest
    bare = path.with_stem(path.stem + "-bare")
    blank = data[:at] + b"-" * len(MARK) + data[at + len(MARK) :]
    if path.suffix == ".pt":
        blank = data[: at - 2] + b"\0\0"
    else:
        blank = blank.replace(b'\\"digest\\"', b'\\"nodgst\\"', 1)
    bare.write_bytes(blank)

    def read() -> None:
        parse_checkpoint(bare, bare.read_bytes())

    def check() -> None:
        assert is_whole(data, at)

    load_checkpoint(bare), read(), check()  # the warm-up
    sides = {
        LOAD: lambda: load_checkpoint(bare),
        READ: read,
        CHECK: check,
        SHA: lambda: hashlib.sha256(data).digest(),
    }
    times = measure({name: stopwatch(side) for name, side in sides.items()}, repeats)
    shares = {name: 100 * t.median / times[LOAD].median for name, t in times.items()}
    about = f"{path.name}, {len(data) / 1e6:.3g} MB"
    rows = [(about, name, *t.show_seconds(), f"{shares[name]:.3g} %") for name, t in times.items()]
    return rows, shares[CHECK]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=int, default=25_600_000, help="of the large network")
    parser.add_argument("--tensors", type=int, default=161, help="that hold them")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print_machine(args.threads, "safetensors")
    print(f"{args.repeats} repeats in turn, after one that does not count")
    torch.manual_seed(0)
    large = {f"{i}.weight": torch.randn(args.weights // args.tensors) for i in range(args.tensors)}
    large["linear.weight"] = torch.randn(10, 64)
    rows, prices = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, weights in (("resnet20", build_model("resnet20", 10).state_dict()), ("large", large)):
            for path in make_files(Path(folder), name, weights):
                found, prices[path.name] = measure_file(path, args.repeats)
                rows += found
    print_table(("file", "side", "median, s", "min–max, s", "of load_checkpoint"), rows)
    for name, price in prices.items():
        print(verdict(f"checking {name}", price, TARGET, " %", below=True))


if __name__ == "__main__":
    run(main)
