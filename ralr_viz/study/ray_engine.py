"""Ray as a `concurrent.futures.Executor`: a cluster, shares of GPUs, workers that may die.

The nodes must see the run directories and the data under the same paths (a shared file system that knows
``flock``), and have ralr-viz installed.
"""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from types import ModuleType
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.study.slots import check_gpus_per_run, check_jobs


class RayExecutor(Executor):
    """Submits each call as a task of a Ray cluster; Ray sets ``CUDA_VISIBLE_DEVICES`` and ``OMP_NUM_THREADS``.

    A task is not retried by Ray: `run_all` does, from the checkpoint, and counts.

    Args:
        address: Of an existing cluster (``auto``, ``HOST:6379``). None: ``$RAY_ADDRESS``,
            else a cluster that this machine already runs, else one of this machine that ends with the executor.
        gpus_per_run: Share of a GPU for each task, in [0.01, 1]; 0 for the CPU. It is bookkeeping: the memory of a
            GPU is not divided.
        cpus_per_run: Cores for each task, above 0.
        jobs: How many tasks at once; None for as many as the cluster holds.

    Raises:
        InputError: Ray is not installed, no cluster answers, none of its nodes has what a task needs, or a number
            is out of range.

    Example:
        >>> with RayExecutor("auto", gpus_per_run=0.5) as executor:
        ...     run_all(directories, executor, ExecuteOptions(data=data_root()))
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        gpus_per_run: float = 0.0,
        cpus_per_run: float = 1.0,
        jobs: int | None = None,
    ) -> None:
        if gpus_per_run:
            check_gpus_per_run(gpus_per_run)
        if not cpus_per_run > 0:
            raise InputError(f"`cpus_per_run` = {cpus_per_run:g} must be above 0")
        check_jobs(jobs)
        self._jobs = jobs
        self._ray = _import_ray()
        self._needs = {"GPU": gpus_per_run, "CPU": cpus_per_run}
        self._tasks: dict[Future[Any], Any] = {}
        self._owns = not self._ray.is_initialized()
        if self._owns:
            _connect(self._ray, address)
        # one task for all calls: Ray sends a function to the cluster once, and takes no other callables
        self._call = self._ray.remote(num_gpus=gpus_per_run, num_cpus=cpus_per_run, max_retries=0)(_call)
        if not self.capacity:  # only now: later, a node may be starting again
            self.shutdown()
            needs = " and ".join(f"{need:g} {name}" for name, need in self._needs.items() if need)
            raise InputError(
                f"no node of the Ray cluster has {needs} for a run: lower --gpus-per-run or --cpus-per-run, "
                "train on the CPU by --device cpu, or choose another --address"
            )

    @property
    def capacity(self) -> int:
        """How many tasks to have at once: what the cluster holds as it is now, or ``jobs``; 0 while it holds none."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        slots = sum(_slots_of(node, self._needs) for node in nodes)
        return slots if self._jobs is None else min(slots, self._jobs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call that can be pickled; a future that is cancelled cancels its task."""
        reference = self._call.remote(fn, *args, **kwargs)
        future: Future[Any] = reference.future()
        self._tasks[future] = reference
        future.add_done_callback(self._forget)
        return future

    def stop(self, *, kill: bool = False) -> None:
        """Cancel all tasks: the children of their workers save and stop. ``kill`` ends the workers, too.

        Ray's cancellation is a best effort: one may be lost, rarely, and is then to be asked for again.
        """
        for reference in list(self._tasks.values()):
            self._ray.cancel(reference, force=kill)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or cancel them, and leave the cluster; one that was started here ends."""
        if cancel_futures:
            self.stop()
        if wait:
            _wait_for(list(self._tasks))
        if self._owns:
            self._ray.shutdown()

    def _forget(self, future: Future[Any]) -> None:
        reference = self._tasks.pop(future, None)
        if future.cancelled() and reference is not None:
            self._ray.cancel(reference)


def _call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    # the workers of a cluster that was started in the background, by `&` in a script, ignore the interrupt that
    # cancels a task
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return fn(*args, **kwargs)


_wait_for = wait  # `shutdown` has an argument of that name


def _import_ray() -> ModuleType:
    # Ray tells its makers of each cluster; a training tool has no business to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("`--engine ray` needs Ray: pip install 'ray>=2.40', or use --engine local") from None
    return ray


def _connect(ray: ModuleType, address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "/" not in host:
        try:  # Ray itself would go on trying for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise InputError(
                f"no Ray cluster answers at `--address {address}` ({one_line(error)}): start one by `ray start --head`, "
                "or use --engine local"
            ) from None
    try:
        ray.init(address=address, include_dashboard=False, logging_level="warning", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = "on this machine" if address is None else f"at `--address {address}`"
        raise InputError(
            f"no Ray cluster {where} ({one_line(error)}): start one by `ray start --head`, or use --engine local"
        ) from None


def _slots_of(node: dict[str, float], needs: dict[str, float]) -> int:
    """Tasks that a node holds; shares of a GPU are never put together from two."""
    slots = math.inf
    for name, need in needs.items():
        have = node.get(name, 0.0)
        if need and name == "GPU":
            slots = min(slots, int(have) * int(1 / need))
        elif need:
            slots = min(slots, int(have / need))
    return int(slots)
