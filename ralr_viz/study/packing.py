"""How many runs a machine trains at once, measured once for a study and kept beside its runs.

On a CPU it is one run on all cores or one on each, whichever is faster. On a GPU it is the number, doubled as long as that
is faster, whose runs fit its memory together; that part has not run on a GPU yet.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any, NamedTuple

from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.recipe import Recipe
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import write_json
from ralr_viz.study.execute import ExecuteOptions
from ralr_viz.study.plan import Plan
from ralr_viz.study.slots import Slot, count_cores, find_slots, own_threads

# Several runs at once are worth their memory where they are faster together by more than the clock's noise.
_WORTH = 1.05
# Of the free memory, what the runs may take: their evaluations need more than their steps.
_SHARE = 0.6
# Of a GPU's memory, what a process takes before it has a tensor there.
_CONTEXT = 600_000_000
_PATIENCE = 600.0  # seconds that one worker waits for the slowest


class Packing(NamedTuple):
    """Runs at once, and what was measured.

    Attributes:
        jobs: Runs at once, on each GPU where there are some.
        threads: Of each.
        rates: Samples a second of all runs together, for each number of them that was tried.
    """

    jobs: int
    threads: int
    rates: dict[int, float]


class Load(NamedTuple):
    """What a number of runs at once did.

    Attributes:
        samples_per_second: Of all together.
        bytes: Of memory, of the largest one.
        device_bytes, device_free: Likewise on the GPU, and what was free there before the first; 0 on a CPU.
    """

    samples_per_second: float
    bytes: int
    device_bytes: int = 0
    device_free: int = 0


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
    """The slots of this machine for a study; how many is measured where nobody has said, and kept for its next start.

    Args:
        plan: Of the study.
        data_root: Folder of the data sets.
        options: Of the runs.
        jobs, gpus_per_run: See `find_slots`.
        threads: Of the study's first runs, which the others have too: on a CPU nothing is measured then.
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
    gpus, cores = [slot.gpu for slot in slots if slot.gpu is not None], count_cores()
    found: Packing | None = None
    if jobs is None and gpus_per_run is None and left and gpus:
        path, machine = packing_path(plan), {"gpus": len(gpus), "cores": cores}
        found = _read(path, machine) or choose_sharing(
            left[0], data_root, options, slots[0],
            runs=math.ceil(len(left) / len(gpus)), cores=max(1, cores // len(gpus)), measure=measure,
        )  # fmt: skip
    elif jobs is None and own_threads() is None and not gpus and left and _on_cpu(options.device):
        path, machine = packing_path(plan), {"gpus": 0, "cores": cores}
        found = _read(path, machine)
        if threads is not None and (found is None or found.threads != threads):
            found = Packing(max(1, cores // threads), threads, {})
        elif found is None:
            found = choose_packing(left[0], data_root, options, runs=len(left), cores=cores, measure=measure)
    if found is None:
        return slots if threads is None else [replace(slot, threads=threads) for slot in slots]
    if found.rates:
        say(_describe(found))
        _keep(path, found, machine)
    each = threads or own_threads() or found.threads
    on: Sequence[str | None] = gpus or [None]
    places = [Slot(slots[0].device, each, gpu) for _ in range(found.jobs) for gpu in on]
    return places[: len(left)]


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


def choose_sharing(
    recipe: Recipe,
    data_root: Path,
    options: ExecuteOptions,
    slot: Slot,
    *,
    runs: int,
    cores: int,
    measure: Measure | None = None,
) -> Packing:
    """Measure a few steps of 1, 2, 4, … runs at once on a GPU, as long as more are faster together and fit.

    Args:
        recipe: What is trained; its ``threads``, where it has them, are those of each run.
        data_root: Folder of the data sets.
        options: Of the runs.
        slot: The GPU.
        runs: How many are left to train on it.
        cores: To be shared by its runs, one or more each.
        measure: `measure_load`; tests set the clock.

    Raises:
        RalrVizError: The data set or the network is not there, or not even one run fits.
    """
    measure = measure or measure_load

    def threads_of(jobs: int) -> int:
        return recipe.threads or max(1, cores // jobs)

    def try_out(jobs: int) -> Load:
        there = replace(slot, threads=threads_of(jobs))
        return measure(recipe, data_root, there.fill(options), jobs, there.threads)

    best, load = 1, try_out(1)
    rates = {1: load.samples_per_second}
    most = min(
        runs, cores // (recipe.threads or 1), int(_SHARE * load.device_free / max(load.device_bytes, 1))
    )
    if (free := _free_bytes()) is not None:
        most = min(most, int(_SHARE * free / max(load.bytes, 1)))
    while 2 * best <= most:
        try:
            load = try_out(2 * best)
        except RalrVizError:  # they do not fit after all
            break
        rates[2 * best] = load.samples_per_second
        if rates[2 * best] <= _WORTH * rates[best]:
            break
        best *= 2
    return Packing(best, threads_of(best), rates)


def packing_path(plan: Plan) -> Path:
    """Where it is kept how a study is packed: ``RUNS/NAME.packing.json``."""
    return plan.runs / f"{plan.study.name}.packing.json"


def _read(path: Path, machine: Mapping[str, int]) -> Packing | None:
    """What was chosen before on such a machine; None where nothing was, or the file is damaged and is chosen anew."""
    try:
        kept = parse_json(path.read_text(encoding="utf-8"))
        if kept["machine"] != machine:
            return None
        jobs, threads = int(kept["jobs"]), int(kept["threads"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Packing(jobs, threads, {}) if min(jobs, threads) >= 1 else None


def _keep(path: Path, packing: Packing, machine: Mapping[str, int]) -> None:
    rates = {str(jobs): rate for jobs, rate in packing.rates.items()}
    write_json(path, packing._asdict() | {"rates": rates, "machine": dict(machine)})


def measure_load(recipe: Recipe, data_root: Path, options: ExecuteOptions, jobs: int, threads: int) -> Load:
    """Train a few steps in so many processes at once, and forget them.

    Args:
        recipe, data_root, options: Of the runs; the processes have the options' environment, so its GPU.
        jobs: How many.
        threads: Of each.

    Raises:
        RalrVizError: The data set, the network or the memory is not there.
    """
    context = get_context("spawn")  # a process of its own threads, as the runs will be
    barrier = context.Barrier(jobs)
    environment = {**options.environment, "OMP_NUM_THREADS": str(threads)}
    with ProcessPoolExecutor(jobs, context, _begin, (barrier, environment)) as pool:
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
    return Load(
        sum(load.samples_per_second for load in found),
        max(load.bytes for load in found),
        max(load.device_bytes for load in found),
        max(load.device_free for load in found),
    )


_together: Any = None


def _begin(barrier: Any, environment: Mapping[str, str]) -> None:
    """Of a process, before torch is imported in it."""
    global _together
    _together = barrier
    os.environ.update(environment)


def _measure(recipe: Recipe, data_root: Path, options: ExecuteOptions, threads: int) -> Load:
    import torch

    from ralr_viz.runtime.device import resolve_runtime
    from ralr_viz.train.speed import measure_speed

    device_bytes = device_free = 0
    try:
        runtime = resolve_runtime(
            options.device, recipe.precision, deterministic=options.deterministic, compile=options.compile,
            threads=threads,
        )  # fmt: skip
        if runtime.device.type == "cuda":
            device_free = torch.cuda.mem_get_info(runtime.device)[0]
        measure_speed(recipe, data_root, runtime)  # until the files are in memory and all is built
        _together.wait(_PATIENCE)
        speed = measure_speed(recipe, data_root, runtime).samples_per_second
        if runtime.device.type == "cuda":
            device_bytes = torch.cuda.max_memory_reserved(runtime.device) + _CONTEXT
    except BaseException:
        _together.abort()  # nobody waits for this one
        raise
    unit = 1 if sys.platform == "darwin" else 1024
    return Load(speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, device_bytes, device_free)


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
