"""How many runs a machine's cores train at once: one run on all of them or one on each, whichever is faster here."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any, NamedTuple

from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.recipe import Recipe
from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.study.plan import Plan
from ralr_viz.study.slots import Slot, count_cores, find_slots, own_threads

# Several runs at once are worth their memory where they are faster together by more than the clock's noise.
_WORTH = 1.05
# Of the free memory, what the runs may take: their evaluations need more than their steps.
_SHARE = 0.6
_PATIENCE = 600.0  # seconds that one worker waits for the slowest


class Packing(NamedTuple):
    """Runs at once, and what was measured.

    Attributes:
        jobs: Runs at once.
        threads: Of each.
        rates: Samples a second of all runs together, for each number of them that was tried.
    """

    jobs: int
    threads: int
    rates: dict[int, float]


class Load(NamedTuple):
    """What a number of runs at once did: samples a second of all together, and the largest one's bytes of memory."""

    samples_per_second: float
    bytes: int


Measure = Callable[[Recipe, Path, ExecuteOptions, int, int], Load]


def pack_slots(
    plan: Plan,
    data_root: Path,
    options: ExecuteOptions,
    *,
    jobs: int | None = None,
    gpus_per_run: float | None = None,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    measure: Measure | None = None,
) -> list[Slot]:
    """The slots of this machine for a study; how many on a CPU is measured, where nobody has said.

    Args:
        plan: Of the study.
        data_root: Folder of the data sets.
        options: Of the runs.
        jobs, gpus_per_run: See `find_slots`.
        threads: Of the study's first runs, which the others have too: then nothing is measured.
        say: Is told what was measured.
        measure: See `choose_packing`.

    Raises:
        InputError: See `find_slots`.
        RalrVizError: See `choose_packing`.
    """
    slots = find_slots(options.device, jobs, 1.0 if gpus_per_run is None else gpus_per_run)
    if gpus_per_run is not None and slots[0].gpu is None:
        raise InputError(f"`--gpus-per-run {gpus_per_run:g}`: torch sees no CUDA device here; leave it out")
    left = [entry.cell.recipe for entry in plan.entries if not entry.done]
    if jobs is None and own_threads() is None and slots[0].gpu is None and left and _on_cpu(options.device):
        cores = count_cores()
        if threads is not None:
            found = Packing(max(1, min(len(left), cores // threads)), threads, {})
        else:
            found = choose_packing(left[0], data_root, options, runs=len(left), cores=cores, measure=measure)
            if found.rates:
                say(_describe(found))
        return [Slot(options.device, found.threads)] * found.jobs
    return slots if threads is None else [replace(slot, threads=threads) for slot in slots]


def choose_packing(
    recipe: Recipe,
    data_root: Path,
    options: ExecuteOptions,
    *,
    runs: int,
    cores: int,
    measure: Measure | None = None,
) -> Packing:
    """Measure a few steps of one run on all cores, and of one on each at the same time.

    Args:
        recipe: What is trained; its ``threads``, where it has them, are those of each run.
        data_root: Folder of the data sets.
        options: Of the runs.
        runs: How many are left to train.
        cores: To be shared.
        measure: `measure_load`; tests set the clock.

    Returns:
        One run where several are not faster by a twentieth, or there is no memory for them.

    Raises:
        RalrVizError: The data set, the network or the memory is not there.
    """
    measure = measure or measure_load
    each = recipe.threads or 0
    jobs = min(runs, cores // (each or 1))
    if jobs < 2:
        return Packing(1, each or cores, {})
    alone = measure(recipe, data_root, options, 1, each or cores)
    free = _free_bytes()
    if free is not None:
        jobs = min(jobs, int(_SHARE * free / max(alone.bytes, 1)))
    if jobs < 2:
        return Packing(1, each or cores, {1: alone.samples_per_second})
    beside = measure(recipe, data_root, options, jobs, each or cores // jobs)
    rates = {1: alone.samples_per_second, jobs: beside.samples_per_second}
    if rates[jobs] > _WORTH * rates[1]:
        return Packing(jobs, each or cores // jobs, rates)
    return Packing(1, each or cores, rates)


def measure_load(recipe: Recipe, data_root: Path, options: ExecuteOptions, jobs: int, threads: int) -> Load:
    """Train a few steps in so many processes at once, and forget them.

    Raises:
        RalrVizError: The data set, the network or the memory is not there.
    """
    context = get_context("spawn")  # a process of its own threads, as the runs will be
    barrier = context.Barrier(jobs)
    with ProcessPoolExecutor(jobs, context, _begin, (barrier, threads)) as pool:
        futures = [pool.submit(_measure, recipe, data_root, options, threads) for _ in range(jobs)]
        errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:  # of those that only waited for the one that failed, none says why
        if not isinstance(error, BrokenProcessPool | BrokenBarrierError):
            raise error
    if errors:
        raise RalrVizError(
            f"{jobs} runs at once could not be measured: a process died; choose how many by --jobs"
        )
    found = [future.result() for future in futures]
    return Load(sum(load.samples_per_second for load in found), max(load.bytes for load in found))


_together: Any = None


def _begin(barrier: Any, threads: int) -> None:
    """Of a process, before torch is imported in it."""
    global _together
    _together = barrier
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _measure(recipe: Recipe, data_root: Path, options: ExecuteOptions, threads: int) -> Load:
    from ralr_viz.runtime.device import resolve_runtime
    from ralr_viz.train.speed import measure_speed

    try:
        runtime = resolve_runtime(
            options.device, recipe.precision, deterministic=options.deterministic, compile=options.compile,
            threads=threads,
        )  # fmt: skip
        measure_speed(recipe, data_root, runtime)  # until the files are in memory and all is built
        _together.wait(_PATIENCE)
        speed = measure_speed(recipe, data_root, runtime).samples_per_second
    except BaseException:
        _together.abort()  # nobody waits for this one
        raise
    unit = 1 if sys.platform == "darwin" else 1024
    return Load(speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _on_cpu(device: str) -> bool:
    from ralr_viz.runtime.device import resolve_runtime

    return resolve_runtime(device, "fp32").device.type == "cpu"


def _describe(packing: Packing) -> str:
    """``2 runs at once, of 1 thread each: measured 990 samples/s, against 855 of 1``."""
    rates = dict(packing.rates)
    chosen = rates.pop(packing.jobs)
    others = "".join(f", against {rate:,.0f} of {jobs}" for jobs, rate in rates.items())
    runs, threads = (
        f"{n} {word}{'s' * (n > 1)}" for n, word in ((packing.jobs, "run"), (packing.threads, "thread"))
    )
    return f"{runs} at once, of {threads} each: measured {chosen:,.0f} samples/s{others} (--jobs N chooses)"


def _free_bytes() -> int | None:
    """Memory that new processes may take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
