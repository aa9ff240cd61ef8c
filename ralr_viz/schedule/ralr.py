"""RALR as a torch scheduler that owns the scheduler it amplifies."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from torch.optim.lr_scheduler import LRScheduler

from ralr_viz.schedule.factor_scheduler import FactorScheduler, warn_of_batches
from ralr_viz.schedule.factors import Amplification, Draw, check_count


class RALR(FactorScheduler):
    r"""Randomly amplifies the learning rate that another scheduler has set.

    Draw number i = ⌊number of ``step()`` calls / ``interval``⌋ takes p_e ~ U[0, 1) and λ ~ U[low, high], and
    until the next draw every parameter group trains at

    .. math:: \eta = \begin{cases} \lambda \eta_0 & p_e < p_r \\ \eta_0 & \text{otherwise} \end{cases}

    where η₀ is what the base scheduler asks for. Nothing compounds: the base gets its own LRs back before it
    steps, so schedulers that compute the next LR from ``group["lr"]`` never see an amplified one. An LR that
    is not amplified is the base's to the last bit. Draw 0 is made at construction: the first epoch draws too.

    The draws depend on (seed, i) alone: no random generator is read or advanced, and
    :func:`~ralr_viz.schedule.amplification_factors` gives the same sequence without torch.

    Args:
        base_scheduler: Any torch scheduler, on any optimizer. From here on call ``step`` on the RALR only,
            with the base's arguments (``step(val_loss)`` for ReduceLROnPlateau). RALR must be outermost: put
            SequentialLR and ChainedScheduler inside it.
        low: Smallest amplification, finite, > 0. Below 1 the LR can also shrink, which is not the paper's
            method and warns.
        high: Largest amplification, finite, >= ``low``.
        probability: The paper's p_r in [0, 1]: 0 never amplifies, 1 always.
        seed: Any integer >= 0.
        interval: ``step()`` calls per draw, >= 1: 1 draws for each epoch if ``step`` is called once an epoch,
            or for each batch if it is called once a batch (which warns where the base is usually stepped so); pass
            ``len(loader)`` then.
        draw: ``"uniform"``, or ``"integer"`` for a λ among the integers of [low, high].
        amplify_from: ``step()`` calls before which nothing is amplified, >= 0. The draws that they would have had
            are left out, not put off: all later factors are those of a RALR without it.

    Raises:
        InputError: An argument outside these rules; a base that is or contains a RALR; at ``step``, a
            parameter group added later or an LR changed by somebody else.

    Note:
        Save and load RALR's state (the base's is inside) and the optimizer's, in any order: the run resumes
        bit for bit, also where the optimizer's state was loaded before the base was built. RALR's state alone
        restores every LR, and the momentum where the base cycles it; the optimizer's alone does not (the base
        would start from an amplified LR). Functions given to LambdaLR and its like are not part of the state,
        as in torch.

        A Tensor LR stays the same tensor, and ``step`` does not wait for its device; that nobody else changed
        it is therefore checked for float LRs only.

        Momentum and weight decay are left alone; but decay that the optimizer scales by the LR (SGD, AdamW)
        is amplified with it. With several processes, step in each; do not pass RALR to
        ``accelerate.prepare``, which steps it once for every process.

    References:
        Section 4.2, Algorithm 1.

    Example:
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> scheduler = RALR(MultiStepLR(optimizer, milestones=[150, 225]), seed=0)
        >>> for epoch in range(300):
        ...     train(...)
        ...     scheduler.step()
    """

    _added_settings: ClassVar[dict[str, Any]] = {"amplify_from": 0}

    def __init__(
        self,
        base_scheduler: LRScheduler,
        low: float = 1.0,
        high: float = 3.0,
        probability: float = 0.5,
        seed: int = 0,
        interval: int = 1,
        draw: str = "uniform",
        amplify_from: int = 0,
    ) -> None:
        self._law = Amplification(low, high, probability, draw)
        self._seed = check_count("seed", seed)
        self._interval = check_count("interval", interval, minimum=1)
        self._amplify_from = check_count("amplify_from", amplify_from)
        super().__init__(base_scheduler)
        if low < high:  # constants need no draw
            warn_of_batches(base_scheduler, self._interval, "RALR")
        if self._law.low < 1:
            warnings.warn(
                f"`low` is {self._law.low}: below 1 the LR can also shrink, which is not the paper's RALR; "
                "use low=1.0 to only amplify",
                UserWarning,
                stacklevel=2,
            )

    def _draw_at(self, steps: int) -> Draw:
        if steps < self._amplify_from:
            return Draw(False, 1.0)
        return self._law.at(self._seed, steps // self._interval)

    def _settings(self) -> dict[str, Any]:
        return {
            "low": self._law.low,
            "high": self._law.high,
            "probability": self._law.probability,
            "seed": self._seed,
            "interval": self._interval,
            "draw": self._law.draw,
            "amplify_from": self._amplify_from,
        }
