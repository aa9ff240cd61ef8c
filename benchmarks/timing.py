"""Time several sides in turn, and print what came out as a Markdown table with the machine it ran on."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from ralr_viz.data.images import worker_count
from ralr_viz.errors import RalrVizError

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "checkpoints" / "cifar10-resnet20-short" / "baseline" / "seed0"

Timed = Callable[[], float]
"""Does the work once and returns the seconds of the part that counts."""


@dataclass(frozen=True)
class Measurement:
    """Seconds of each repeat of one side, and the work (images, starts, …) that a repeat does."""

    seconds: tuple[float, ...]
    work: float = 1.0

    @property
    def median(self) -> float:
        """Median seconds of a repeat."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Work per second, of the median repeat."""
        return self.work / self.median

    def show_seconds(self) -> tuple[str, str]:
        """Median and min–max of the seconds."""
        return f"{self.median:.4g}", f"{min(self.seconds):.4g}–{max(self.seconds):.4g}"

    def show_rate(self) -> tuple[str, str]:
        """Median and min–max of the work per second."""
        return f"{self.rate:.4g}", f"{self.work / max(self.seconds):.4g}–{self.work / min(self.seconds):.4g}"


def clock() -> float:
    """Seconds: the wall's, or of the processor where the script was told so."""
    return _ByProcessor.clock()


def stopwatch(run: Callable[[], object]) -> Timed:
    """All of ``run`` counts."""

    def timed() -> float:
        begin = clock()
        run()
        return clock() - begin

    return timed


def synchronise(device: str) -> None:
    """Wait for what a GPU was told to do; on the CPU everything is done when a call returns."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(sides: Mapping[str, Timed], repeats: int, work: float = 1.0) -> dict[str, Measurement]:
    """Run the sides in turn, A B A B …, so that a machine that slows down slows all of them.

    Args:
        sides: Warmed up by the caller.
        repeats: Of each side, 1 or more.
        work: Of one repeat, the same for all sides.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(1, repeats + 1):
        for name, timed in sides.items():
            seconds[name].append(timed())
            say(f"repeat {repeat} of {repeats}, {name}: {seconds[name][-1]:.3g} s")
    return {name: Measurement(tuple(values), work) for name, values in seconds.items()}


def speedup(fast: Measurement, slow: Measurement) -> float:
    """How many times as much work a second ``fast`` does, by the medians."""
    return fast.rate / slow.rate


def verdict(what: str, value: float, target: float, unit: str = "×", *, below: bool = False) -> str:
    """One line: the value, the target and whether it was reached."""
    sign, reached = ("<", value < target) if below else ("≥", value >= target)
    return f"{what}: {value:.4g}{unit}; target {sign} {target:g}{unit}: {'reached' if reached else 'missed'}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table on stdout."""
    print()
    for cells in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(map(str, cells)) + " |")
    print(flush=True)


def print_machine(threads: int, *packages: str) -> None:
    """Processor, cores, threads, memory, versions and load, without the name of the host.

    Args:
        threads: That each side may use.
        packages: Distributions whose versions matter, beside torch and NumPy.
    """
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", *packages))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"{_processor()}, {worker_count(None)} cores, threads {threads}, {memory:.0f} GiB; "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}; "
        f"load {os.getloadavg()[0]:.1f} at the start"
        + (", time on the processor" if _ByProcessor.clock is time.process_time else ""),
        flush=True,
    )


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Parser with the options that all scripts share; the description is the script's docstring."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, help="data root, as of ralr-viz")
    parser.add_argument(
        "--threads", type=int, default=worker_count(None), help="of each side [default: all cores]"
    )
    parser.add_argument(
        "--cpu-time",
        action=_ByProcessor,
        nargs=0,
        help="count this process's time on the processor, which a busy machine changes little; with --threads 1, and "
        "without workers, whose time is not in it",
    )
    return parser


class _ByProcessor(argparse.Action):
    """Changes what `clock` reads, once for the process: both sides are timed by it."""

    clock = staticmethod(time.perf_counter)

    def __call__(self, *_: object) -> None:
        _ByProcessor.clock = staticmethod(time.process_time)


def run(main: Callable[[], None]) -> None:
    """Run a script; what the package refuses is one line."""
    try:
        main()
    except RalrVizError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
