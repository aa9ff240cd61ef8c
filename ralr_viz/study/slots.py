"""The places of a machine where runs are executed, and the executor that fills them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.study.execute import Children, ExecuteOptions


@dataclass(frozen=True)
class Slot:
    """A place where one run at a time is executed.

    Attributes:
        device: ``--device`` of the child.
        threads: ``OMP_NUM_THREADS`` of the child; the same in all slots, since results depend on it.
        gpu: What the child's ``CUDA_VISIBLE_DEVICES`` holds; None leaves it alone.
    """

    device: str
    threads: int
    gpu: str | None = None

    def fill(self, options: ExecuteOptions) -> ExecuteOptions:
        """The options of a run that is executed here."""
        own = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpu is not None:
            own["CUDA_VISIBLE_DEVICES"] = self.gpu
        return replace(options, device=self.device, environment={**options.environment, **own})


def check_gpus_per_run(gpus_per_run: float) -> None:
    """Raises: InputError where a run would need more than one GPU, or none of it."""
    if not 0.01 <= gpus_per_run <= 1:
        raise InputError(
            f"`--gpus-per-run {gpus_per_run:g}` must be from 0.01 to 1 (0.5 puts two runs on a GPU): "
            "a run that is too large for one GPU is trained under torchrun"
        )


def check_jobs(jobs: int | None) -> None:
    """Raises: InputError where no run at all would be executed, or more than any machine has room for."""
    if jobs is not None and not 1 <= jobs <= 1024:
        raise InputError(f"`--jobs {jobs}` must be from 1 to 1024: it is how many runs are trained at once")


def make_slots(
    device: str, jobs: int | None, gpus_per_run: float, cores: int, gpus: Sequence[str]
) -> list[Slot]:
    """The slots of a machine.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` (one GPU of them) or ``mps``.
        jobs: How many runs at once. None: on GPUs all that fit, else 1.
        gpus_per_run: Share of a GPU that a run needs, in [0.01, 1]; bookkeeping, its memory is not divided.
        cores: CPU cores, shared evenly by the slots.
        gpus: The GPUs as ``CUDA_VISIBLE_DEVICES`` names them; may be empty.

    Returns:
        At least one; the first ones are on different GPUs.

    Raises:
        InputError: No such GPU, or a number out of range.
    """
    check_gpus_per_run(gpus_per_run)
    check_jobs(jobs)
    if not (device.startswith("cuda") or (device == "auto" and gpus)):
        count = jobs or 1
        return [Slot(device, max(1, cores // count))] * count
    chosen = _choose_gpus(device, gpus)
    each = int(1 / gpus_per_run)
    places = [gpu for _ in range(each) for gpu in chosen][:jobs]
    return [Slot("cuda", max(1, cores // len(places)), gpu) for gpu in places]


def count_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_threads() -> int | None:
    """The user's own ``OMP_NUM_THREADS``; None where he has not said."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdigit() and int(threads) > 0 else None


def find_slots(device: str = "auto", jobs: int | None = None, gpus_per_run: float = 1.0) -> list[Slot]:
    """`make_slots` of this machine; the user's own ``OMP_NUM_THREADS`` counts for each run.

    Raises:
        InputError: See `make_slots`.
    """
    cores = count_cores()
    gpus: list[str] = []
    if device == "auto" or device.startswith("cuda"):
        import torch

        count = torch.cuda.device_count()
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = [str(i) for i in range(count)] if named is None else named.split(",")[:count]
    slots = make_slots(device, jobs, gpus_per_run, cores, gpus)
    threads = own_threads()
    return slots if threads is None else [replace(slot, threads=threads) for slot in slots]


class LocalExecutor(ThreadPoolExecutor):
    """One thread for each slot; a task is given the options of its slot, and a child process can be stopped.

    Args:
        slots: At least one.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        super().__init__(max_workers=len(slots), thread_name_prefix="slot")
        self.capacity = len(slots)
        self.children = Children()
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit ``fn(directory, options)``, which is called as ``fn(directory, options, children)``."""
        return super().submit(self._call_in_slot, fn, *args, **kwargs)

    def stop(self, *, kill: bool = False) -> None:
        """Ask the children to save and stop, or end them at once."""
        (self.children.kill if kill else self.children.stop)()

    def _call_in_slot(self, fn: Callable[..., Any], directory: Path, options: ExecuteOptions) -> Any:
        slot = self._free.get()
        try:
            return fn(directory, slot.fill(options), self.children)
        finally:
            self._free.put(slot)


def _choose_gpus(device: str, gpus: Sequence[str]) -> list[str]:
    index = device.partition(":")[2]
    if not gpus:
        raise InputError(f"`--device {device}`: torch sees no CUDA device here; use --device cpu or auto")
    if not index:
        return list(gpus)
    if not index.isdigit() or int(index) >= len(gpus):
        raise InputError(f"`--device {device}`: there are {len(gpus)} CUDA devices, from cuda:0")
    return [gpus[int(index)]]
