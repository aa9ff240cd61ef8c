"""Networks that were compiled, run as they were written."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def uncompiled() -> AbstractContextManager[Any]:
    """For the block, what `torch.compile` has made runs as it was written: hooks are seen, and no size of batch is compiled.

    Where nobody has loaded the compiler nothing is compiled, and loading it for that takes seconds and 140 MB.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
