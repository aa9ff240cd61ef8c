"""Activation histograms of a whole split: `compute_activations` against hooks that keep every activation, on the CPU.

Two states of one network, the same layers. The other side keeps what the layers return for all images and calls
`numpy.histogram` afterwards. ralr-viz also computes distances, correlations and their errors in its time.

Every run is a process of its own. Peak memory is `getrusage`'s; the part above the start (packages, networks and
images loaded, one small batch done) belongs to the method. The number of images of the hooks' side is cut where it
would take more than 24 GiB or what the machine has.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import PUBLISHED, Measurement, make_parser, print_machine, print_table, run, say, speedup

OURS, HOOKS = "ralr-viz", "hooks and numpy.histogram"
LIMIT_GIB = 24.0


class Task:
    """Networks, images and the two ways to their histograms.

    torch is imported here, in the processes that are measured: on Linux a process starts with the peak of the one
    that started it.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        from ralr_viz.analysis.stages import find_stages
        from ralr_viz.data import data_root, load_dataset
        from ralr_viz.train import load_checkpoint

        torch.set_num_threads(args.threads)
        checkpoints = [load_checkpoint(spec) for spec in args.ckpt]
        split = load_dataset(checkpoints[0].dataset or "cifar10", data_root(args.data)).test
        self.images = np.array(split.images[: args.images])
        self.networks = [checkpoint.build() for checkpoint in checkpoints]
        self.mean, self.std = checkpoints[0].mean, checkpoints[0].std
        self.stages = find_stages(self.networks[0], self._batch(0, 1))
        self.batch, self.bins = args.batch, args.bins

    @property
    def kept_bytes(self) -> int:
        """What the hooks' side holds at most for one image: float32 of both networks, one layer twice."""
        sizes = [int(np.prod(shape)) for shape in self.stages.values()]
        return 4 * 2 * (sum(sizes) + max(sizes))

    def count(self, side: str, n: int) -> int:
        """Number of values in the histograms of the first ``n`` images, after computing them."""
        return (self._ours if side == OURS else self._hooks)(self.images[:n])

    def _ours(self, images: np.ndarray) -> int:
        from ralr_viz.analysis.activations import compute_activations
        from ralr_viz.comparison import compare

        states = compare(
            self.networks, images=images, mean=self.mean, std=self.std, device="cpu", batch=self.batch
        )
        result = compute_activations(states)
        assert list(result.layers[0]) == list(self.stages)
        return int(result.counts.sum() + result.zeros.sum())

    def _hooks(self, images: np.ndarray) -> int:
        import torch

        kept: list[dict[str, list[np.ndarray]]] = []
        for network in self.networks:
            outputs: dict[str, list[np.ndarray]] = {layer: [] for layer in self.stages}
            handles = [
                network.get_submodule(layer).register_forward_hook(
                    lambda module, args, output, store=store: store.append(output.flatten().numpy())
                )
                for layer, store in outputs.items()
            ]
            with torch.no_grad():
                for start in range(0, len(images), self.batch):
                    network(self._batch(start, min(start + self.batch, len(images))))
            for handle in handles:
                handle.remove()
            kept.append(outputs)
        total = 0
        for layer in self.stages:
            earlier, later = (np.concatenate(outputs[layer]) for outputs in kept)
            common = min(earlier.min(), later.min()), max(earlier.max(), later.max())
            for values in (earlier, later):
                total += int(np.histogram(values, self.bins, common)[0].sum())
        return total

    def _batch(self, start: int, stop: int) -> Any:
        import torch

        from ralr_viz.data.augment import normalise_batch

        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return normalise_batch(torch.from_numpy(self.images[start:stop]), mean, std)


def report(args: argparse.Namespace) -> None:
    """The work of a fresh process: one side once; prints seconds and memory as JSON."""
    task = Task(args)
    n = len(task.images)
    task.count(args.child, min(n, 8))
    start = _peak_bytes()
    if args.child == HOOKS:
        room = min(LIMIT_GIB * 2**30 - start, _available_bytes())
        n = min(n, int(room / task.kept_bytes))
    begin = time.perf_counter()
    values = task.count(args.child, n)
    seconds = time.perf_counter() - begin
    print(json.dumps({"n": n, "values": values, "seconds": seconds, "start": start, "peak": _peak_bytes()}))


def run_process(args: argparse.Namespace, side: str, n: int) -> dict[str, Any]:
    """What `report` prints of one side and ``n`` images."""
    options = [f"--images={n}", f"--batch={args.batch}", f"--bins={args.bins}", f"--threads={args.threads}"]
    options += [f"--data={args.data}"] if args.data else []
    command = [sys.executable, __file__, "--child", side, *options, "--ckpt", *args.ckpt]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"the process of `{side}` at {n} images ended with {done.returncode}")
    found = json.loads(done.stdout)
    say(f"{side}, {found['n']} images: {found['seconds']:.3g} s, peak {_mib(found['peak'])} MiB")
    return found


def print_results(found: dict[str, dict[int, list[dict[str, Any]]]]) -> None:
    """The table and the ratios of what `run_process` returned, by side and images asked for."""
    each = {r["values"] / r["n"] for sizes in found.values() for runs in sizes.values() for r in runs}
    assert len(each) == 1, f"the sides counted different numbers of values an image: {each}"
    rows, times, above, peaks, lines = [], {}, {}, {}, []
    for side, sizes in found.items():
        for asked, runs in sizes.items():
            n = runs[0]["n"]
            times[side] = Measurement(tuple(run["seconds"] for run in runs), n)
            peaks[side] = max(run["peak"] for run in runs)
            above[side, asked] = max(4096, max(run["peak"] - run["start"] for run in runs))
            rows.append(
                (side, f"{n:,}", *times[side].show_seconds(), _mib(peaks[side]), _mib(above[side, asked]))
            )
            if n < asked:
                lines.append(
                    f"{side}: {n:,} images for {asked:,}, to stay within {LIMIT_GIB:g} GiB and this machine"
                )
        first, last = min(sizes), max(sizes)
        more = sizes[last][0]["n"] / sizes[first][0]["n"]
        growth = above[side, last] / above[side, first]
        lines.append(f"{side}: {growth:.4g}× the memory above the start for {more:.4g}× the images")
    print_table(("side", "images", "seconds", "min–max", "peak, MiB", "above the start, MiB"), rows)
    print("\n".join(lines))
    ratio = above[HOOKS, last] / above[OURS, last]
    print(f"memory above the start at the most images, hooks over ralr-viz: {ratio:.4g}×; no target")
    print(
        f"peak memory at the most images, hooks over ralr-viz: {peaks[HOOKS] / peaks[OURS]:.4g}×; no target"
    )
    print(
        f"time at the most images, hooks over ralr-viz: {speedup(times[OURS], times[HOOKS]):.4g}×; no target"
    )


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _available_bytes() -> float:
    """Nine tenths of the memory that is free for programs; without limit where Linux does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    return 0.9 * 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--ckpt", nargs=2, default=[f"{PUBLISHED}@13", f"{PUBLISHED}@20"])
    parser.add_argument("--images", type=int, default=10_000, help="of the test split; the last of the sizes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--bins", type=int, default=100, help="of the hooks' side")
    parser.add_argument("--child", choices=(OURS, HOOKS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        report(args)
        return
    print_machine(args.threads)
    print(
        f"two states of one network, batch {args.batch}, fp32, a fresh process for each run; at the most images "
        f"{args.repeats} repeats in turn; start and warm-up excluded from the time"
    )
    found: dict[str, dict[int, list[dict[str, Any]]]] = {HOOKS: {}, OURS: {}}
    for multiple in (1, 4, 16):
        n = max(1, args.images * multiple // 16)
        for _ in range(args.repeats if multiple == 16 else 1):
            for side, sizes in found.items():
                runs = sizes.setdefault(n, [])
                runs.append(run_process(args, side, runs[0]["n"] if runs else n))
    print_results(found)


if __name__ == "__main__":
    run(main)
