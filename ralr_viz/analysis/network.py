"""A caller's network, made ready to be looked into and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from ralr_viz.models.outputs import check_outputs, count_labelled, return_logits
from ralr_viz.tasks.eval_mode import eval_mode


@contextmanager
def classifying(
    model: nn.Module, probe: Tensor, targets: np.ndarray, classes: int | None = None
) -> Iterator[None]:
    """Eval mode for the block, in which the network returns its logits alone, whatever it returns otherwise.

    Args:
        model: Any classifier.
        probe: Normalised images (b, 3, H, W), on the model's device; the first is run.
        targets: (n,) integer classes, −1 where none is given, which are held against the network's.
        classes: How many there are, where known; else the targets show it, see `find_logits`.

    Raises:
        InputError: It does not take images of this size, its logits are not known, or a target is none of its
            classes.
    """
    with eval_mode(model):
        labelled = count_labelled(targets)
        check_outputs(model, probe, targets, classes)
        handle = return_logits(model, classes, labelled=labelled)
        try:
            yield
        finally:
            handle.remove()
