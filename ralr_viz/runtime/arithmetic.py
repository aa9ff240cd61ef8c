"""How products of fp32 numbers are rounded: torch's global switches, set for a block and put back as they were.

By default torch lets cuDNN compute convolutions of fp32 numbers in TF32, with 10 bits of mantissa instead of 23. It has
two sets of switches for this, and reading one of the old (``allow_tf32``) raises where somebody has set one of the new
(``fp32_precision``) to something else. Here the new ones are read and set, and of the old ones the one that products
of matrices depend on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# `Any`: torch's own annotations do not know all of them.
_TORCH: Any = torch.backends
_MATMUL = (_TORCH.cuda.matmul, _TORCH.mkldnn.matmul)
_ON_CUDA = (_TORCH.cudnn.conv, _TORCH.cudnn.rnn)
_ON_CPU = (_TORCH.mkldnn.conv, _TORCH.mkldnn.rnn)
# What a special switch leaves open is as a general one says: that of all backends, of CUDA, of the CPU. The last is made
# here, because setting `mkldnn.fp32_precision` sets the first (torch 2.14).
_OF_CUDA, _OF_CPU = _TORCH.cudnn, type(_TORCH.mkldnn.conv)("mkldnn", "all")
_GENERAL = (_TORCH, _OF_CUDA, _OF_CPU)


@contextmanager
def fp32_products(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """For the block, products and convolutions of fp32 numbers are IEEE's, on CUDA TF32 where asked for.

    All of torch's switches are afterwards as they were, whether somebody has set the old or the new ones. On CUDA
    the old one of cuDNN may not be read in the block, which `torch.backends.cudnn.flags` does.

    Args:
        device: Where the products are; cuDNN's switches are left alone elsewhere.
        tf32: Whether they are TF32 there.
    """
    before = _set(tf32, cudnn=device.type == "cuda")
    try:
        yield
    finally:
        _restore(*before)


def set_fp32_products(*, tf32: bool = False) -> None:
    """The same for the rest of the process."""
    _OF_CUDA.allow_tf32 = tf32  # so that it agrees with the new ones, and may be read
    _set(tf32, cudnn=True)


def rounds_to_tf32() -> bool:
    """Whether CUDA computes products of fp32 matrices in TF32 now."""
    return bool(_MATMUL[0].fp32_precision == "tf32")


def _set(tf32: bool, *, cudnn: bool) -> tuple[list[tuple[Any, str]], str]:
    """Set all; what `_restore` needs."""
    before = []

    def change(switch: Any, value: str) -> None:
        before.append((switch, switch.fp32_precision))
        switch.fp32_precision = value

    for general in _GENERAL:  # with those open, each special one says what is its own
        change(general, "none")
    for matmul in _MATMUL:
        change(matmul, "ieee")  # in which state the old switch may be read
    old = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    _MATMUL[1].fp32_precision = "ieee"  # which the old one has changed, too
    wanted = "tf32" if tf32 else "ieee"
    _OF_CPU.fp32_precision, special = "ieee", [(switch, "ieee") for switch in _ON_CPU]
    _OF_CUDA.fp32_precision = wanted if cudnn else dict(before)[_OF_CUDA]
    if cudnn:
        special += [(switch, wanted) for switch in _ON_CUDA]
    # untouched where they follow: cuDNN's own default, once it is overwritten, cannot be set again
    for switch, value in special:
        if switch.fp32_precision != value:
            change(switch, value)
    return before, old


def _restore(before: list[tuple[Any, str]], old: str) -> None:
    torch.set_float32_matmul_precision(old)  # writes into the new ones of matrices, so it comes first
    for switch, value in before:
        switch.fp32_precision = value
