"""What part of a training this process does: all of it, or the share of one of several ranks.

The loop is written against `Ranks`; its own methods are those of a single process, where nothing is exchanged.
Imports no torch, so that a wrong run directory is refused at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ralr_viz.errors import RalrVizError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ralr_viz.runtime.stop import StopSignal

T = TypeVar("T")


class PeerError(RalrVizError):
    """What ends this rank happened in another one, which has said it; so this one need not."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Place:
    """A process among those that ``torchrun`` started: 0-based ranks, on all machines and on this one."""

    rank: int
    size: int
    local_rank: int
    local_size: int


class Ranks:
    """The ranks of a training as one of them sees them; here there is only this one.

    Methods marked *together* exchange something, so every rank must call them, in the same order.

    Attributes:
        rank: 0-based; rank 0 alone owns the run directory.
        size: Number of ranks.
        backend: Of torch.distributed, None without it.
        device: Name of the device that the rank has, None where the caller chooses.
    """

    rank = 0
    size = 1
    backend: str | None = None
    device: str | None = None

    def shard(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of the batch ``start:stop``; the next backward pass is weighted by its share."""
        return start, stop

    def weigh(self, weight: Tensor) -> None:
        """Together: weight the next backward pass by this share of the sum over the ranks, in the place of `shard`'s."""

    def replicate(self, model: nn.Module) -> nn.Module:
        """Together: what to call in training instead of ``model``, whose parameters it shares."""
        return model

    def sum(self, values: Tensor) -> Tensor:
        """Together: elementwise sum over the ranks, on the device of ``values``."""
        return values

    def every(self, flag: bool) -> bool:
        """Together: whether all ranks have it."""
        return flag

    def stopped(self, stop: StopSignal, *, look: bool = True) -> bool:
        """Together where ``look``, else no: whether any rank has a signal; then ``stop`` has it in all."""
        return stop.number is not None

    def lead(self, make: Callable[[], T]) -> T:
        """Together: what ``make`` returns in rank 0, where alone it is called.

        Raises:
            RalrVizError: That of ``make``, in rank 0.
            PeerError: In the other ranks then.
        """
        return make()

    def of_others(self, value: Any) -> list[Any]:
        """Together: the values of ranks 1, 2, …"""
        return []

    def wait(self) -> None:
        """Together: come back when all have come."""


ALONE = Ranks()


def seed_of_rank(seed: int, rank: int, epoch: int) -> int:
    """Seed of torch's generators, thus of dropout, in a rank above 0; rank 0 goes on with the training's own."""
    digest = hashlib.blake2b(f"rank/{seed}/{rank}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
