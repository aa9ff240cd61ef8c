"""The processes that ``torchrun`` started, and this one's place among them; imports torch only where there are others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from ralr_viz.errors import InputError
from ralr_viz.runtime.ranks import ALONE, Place, Ranks


def read_place(environment: Mapping[str, str]) -> Place | None:
    """Place of this process in what ``torchrun`` sets; None where there is no other process.

    Raises:
        InputError: Some of the variables are there and others are missing or no numbers.
    """
    if environment.get("WORLD_SIZE", "1") == "1" or "RANK" not in environment:
        return None
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        text = environment.get(name, "")
        if not text.isdecimal():
            raise InputError(
                f"`{name}` = {text!r} in the environment must be a number: start several processes by "
                "`torchrun --nproc-per-node N -m ralr_viz run DIR`, or unset RANK and WORLD_SIZE"
            )
        numbers[name] = int(text)
    return Place(numbers["RANK"], numbers["WORLD_SIZE"], numbers["LOCAL_RANK"], numbers["LOCAL_WORLD_SIZE"])


@contextlib.contextmanager
def join_ranks(device: str = "auto") -> Iterator[Ranks]:
    """Join the other processes that ``torchrun`` started, for the block; `ALONE` where there are none.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; each rank has the CUDA device of its local rank.

    Raises:
        InputError: Another device, or fewer CUDA devices than processes.
        PeerError: Another process has ended.
    """
    place = read_place(os.environ)
    if place is None:
        yield ALONE
        return
    from ralr_viz.train.distributed import join_group

    with join_group(place, device) as ranks:
        yield ranks
