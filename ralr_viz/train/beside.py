"""What is done beside the training by threads: the next epoch's plan is drawn, and states go to disk."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from ralr_viz.models.outputs import tensors_in
from ralr_viz.tasks.task import Feed, Plan


class PlansAhead:
    """The plans of a feed's epochs, of which the next is drawn while the present one is trained.

    Plans lie on the host: a thread of its own knows neither the device of the training nor its stream.

    Args:
        feed: Whose ``plan`` is a pure function of seed and epoch.
        epochs: Of the training; nothing is drawn beyond them.
    """

    def __init__(self, feed: Feed, epochs: int) -> None:
        self._feed, self._epochs = feed, epochs
        self._next: tuple[tuple[int, int], Future[Plan]] | None = None

    def take(self, seed: int, epoch: int) -> Plan:
        """The plan of the 0-based epoch; that of the one behind it is begun."""
        found, self._next = self._next, None
        plan = found[1].result() if found and found[0] == (seed, epoch) else self._feed.plan(seed, epoch)
        if epoch + 1 < self._epochs:
            key = seed, epoch + 1
            pool = ThreadPoolExecutor(1, thread_name_prefix="plan")
            self._next = key, pool.submit(self._feed.plan, *key)
            pool.shutdown(wait=False)  # the thread ends with its plan
        return plan


class WriterBeside:
    """Writes one thing at a time in a thread; what goes wrong there is raised by `wait`."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], object]) -> None:
        """Begin to write, when what was begun before is written.

        Raises:
            Exception: That of the former write; nothing is begun then.
        """
        self.wait()

        def run() -> None:
            try:
                write()
            except BaseException as error:  # of any kind: the training must not go on as if it were saved
                self._error = error

        # no daemon: an interpreter that ends waits until a state is on disk
        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Come back when all that was begun is written.

        Raises:
            Exception: That of the write, once.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error


def copy_to_host(content: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], None]]:
    """A state as it is now, on the host, whatever becomes of the tensors afterwards.

    From CUDA it is copied to pinned memory, for which the host does not wait: what changes a tensor later is behind the
    copy in the device's stream. Tensors that share memory do so in the copy.

    Args:
        content: Tensors and plain values in dicts, lists and tuples.

    Returns:
        The copy, and what to call, in any thread, before it is read.
    """
    storages: dict[int, Tensor] = {}
    memo: dict[int, Any] = {}
    streams = {}
    for tensor in tensors_in(content):
        memo[id(tensor)] = _copy_tensor(tensor, storages)
        if tensor.device.type == "cuda":
            streams[tensor.device] = torch.cuda.current_stream(tensor.device)
    events = [stream.record_event() for stream in streams.values()]

    def finish() -> None:
        for event in events:
            event.synchronize()

    return copy.deepcopy(dict(content), memo), finish


def _copy_tensor(tensor: Tensor, storages: dict[int, Tensor]) -> Tensor:
    """A tensor of the same strides in a host copy of its storage, of which there is one."""
    storage = tensor.untyped_storage()
    if storage.data_ptr() not in storages:
        cuda = tensor.device.type == "cuda"
        whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
        host = torch.empty(len(whole), dtype=torch.uint8, pin_memory=cuda)
        storages[storage.data_ptr()] = host.copy_(whole, non_blocking=cuda)
    host = storages[storage.data_ptr()]
    made = torch.empty(0, dtype=tensor.dtype)
    return made.set_(host.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
