"""One training over several processes: torch's DistributedDataParallel, NCCL on CUDA and gloo on the CPU.

The recipe's batch is the global one. Each rank computes the gradient of its contiguous part of it; the parts are
averaged, weighted by their numbers of images, so that every rank steps along the gradient of the whole batch's mean
loss and all weights stay equal to the bit. What is not that of one process: in training, BatchNorm normalises by
the statistics of the rank's own part. The running statistics of rank 0 are those that are evaluated and saved.
"""

# no `from __future__ import annotations`: DDP checks those of its hook, and takes no strings

import contextlib
import datetime
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ralr_viz.errors import DivergedError, InputError, InterruptedRunError, RalrVizError
from ralr_viz.foreign import one_line
from ralr_viz.runtime.ranks import PeerError, Place, Ranks
from ralr_viz.runtime.stop import StopSignal

# For rank 0 to evaluate and to save, or to compile, while the others wait.
_TIMEOUT = datetime.timedelta(minutes=30)

T = TypeVar("T")


class ProcessRanks(Ranks):
    """The ranks of torch's default process group. Flags and objects go through gloo, tensors as they lie."""

    device: str

    def __init__(self, rank: int, size: int, device: str) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.backend = "nccl" if device.startswith("cuda") else "gloo"
        self.share: float | Tensor = 1.0

    def shard(self, start: int, stop: int) -> tuple[int, int]:
        """Parts differ by at most one image; the first ones are the larger."""
        each, more = divmod(stop - start, self.size)
        first = start + self.rank * each + min(self.rank, more)
        last = first + each + (self.rank < more)
        self.share = (last - first) / (stop - start)
        return first, last

    def weigh(self, weight: Tensor) -> None:
        """By a number that stays on the device."""
        self.share = weight / self.sum(weight)

    def replicate(self, model: nn.Module) -> nn.Module:
        """Buffers are not exchanged: each rank has its own running statistics, rank 0's count."""
        devices = [torch.device(self.device)] if self.backend == "nccl" else None
        # newer versions of torch rename `broadcast_buffers`, which all have
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            network = DistributedDataParallel(
                model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        network.register_comm_hook(self, _reduce_to_batch_mean)
        return network

    def sum(self, values: Tensor) -> Tensor:
        """A new tensor, the same bits in every rank."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def every(self, flag: bool) -> bool:
        """One number through gloo."""
        return self._highest(int(not flag)) == 0

    def stopped(self, stop: StopSignal, *, look: bool = True) -> bool:
        """The higher number where ranks have different ones."""
        if not look:
            return False
        number = self._highest(stop.number or 0)
        if number:
            stop.number = number
        return number > 0

    def lead(self, make: Callable[[], T]) -> T:
        """The value is pickled; an error reaches the other ranks as its message and exit code."""
        box: list[Any] = [None]
        failure: Exception | None = None
        if self.rank == 0:
            try:
                box = [(make(), None)]
            except Exception as error:  # of any kind: the others must not wait for what will not come
                failure = error
                box = [(None, (str(error), getattr(error, "exit_code", 1)))]
        dist.broadcast_object_list(box, src=0)
        if failure is not None:
            raise failure
        value, told = box[0]
        if told is not None:
            raise PeerError(*told)
        return value

    def of_others(self, value: Any) -> list[Any]:
        """Pickled."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values[1:]

    def wait(self) -> None:
        """One number through gloo."""
        self._highest(0)

    def _highest(self, number: int) -> int:
        box = torch.tensor([number])
        dist.all_reduce(box, dist.ReduceOp.MAX)
        return int(box)


def _reduce_to_batch_mean(ranks: ProcessRanks, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Σ over the ranks of share × gradient of the part's mean loss: the gradient of the batch's mean loss.

    DDP's own average weighs the parts alike, which is another gradient where they differ in size.
    """
    work = dist.all_reduce(bucket.buffer().mul_(ranks.share), async_op=True)
    assert work is not None
    return work.get_future().then(lambda future: future.value()[0])


@contextlib.contextmanager
def join_group(place: Place, device: str) -> Iterator[Ranks]:
    """The process group for the block; it is left together where every rank leaves in the same way.

    Raises:
        InputError: A device that a rank cannot have.
        RalrVizError: The processes do not find each other.
        PeerError: Another process has ended.
    """
    where = _choose_device(place, device)
    cuda = where.startswith("cuda")
    if cuda:
        torch.cuda.set_device(where)
    # named, so that NCCL connects now, where it can fail in one line, and not in the first step
    named = torch.device(where) if cuda else None
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT, device_id=named)
    except (RuntimeError, ValueError) as error:
        raise RalrVizError(
            f"rank {place.rank} of {place.size} does not find the others ({_first_line(error)}): "
            "start them by `torchrun --nproc-per-node N -m ralr_viz run DIR`"
        ) from None
    ranks = ProcessRanks(place.rank, place.size, where)
    together = False
    try:
        yield ranks
        together = True
    except (DivergedError, InterruptedRunError):  # all ranks raise these, and at the same step
        together = True
        raise
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise PeerError(
            f"another of the {place.size} processes ended ({_first_line(error)}): what was saved is intact, "
            "start them again to go on"
        ) from None
    finally:
        _leave(ranks, together)


def _leave(ranks: Ranks, together: bool) -> None:
    """Torch aborts a gloo process that is connected when it ends, so the group is always taken down.

    Only where no rank has gone yet may one wait for another; NCCL would wait for one that is gone.
    """
    if together:
        with contextlib.suppress(RuntimeError):
            ranks.wait()
    if together or ranks.backend == "gloo":
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _choose_device(place: Place, name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"`--device {name}`: several processes cannot share it; take cuda, of which each has its own, or cpu"
        )
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    count = torch.cuda.device_count()
    if place.local_size > count:
        raise InputError(
            f"{place.local_size} processes need as many CUDA devices, this machine has {count}: "
            f"lower --nproc-per-node, or pass --device cpu"
        )
    return f"cuda:{place.local_rank}"


def _is_lost_connection(error: RuntimeError) -> bool:
    """Gloo has no class of its own for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return one_line(text.splitlines()[0])
