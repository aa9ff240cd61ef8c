"""Noise on the learning rate, as timm has it: the random comparator of RALR whose mean factor is 1."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from ralr_viz.schedule.factor_scheduler import FactorScheduler
from ralr_viz.schedule.factors import Draw, Noise, check_count


class LRNoise(FactorScheduler):
    r"""Multiplies the learning rate that another scheduler has set by 1 + noise, anew at each ``step``.

    .. math:: \eta = (1 + \epsilon)\,\eta_0, \quad \epsilon \sim N(0, 1) \text{ given } |\epsilon| < \text{pct}

    from the ``start``-th up to, not including, the ``stop``-th step; before and after, and before the first step
    (the first epoch), the LR is the base's to the last bit, as in timm. The law is that of timm's ``Scheduler`` with ``noise_type="normal"``, whose ``noise_std`` has
    no effect there either. The draws are not timm's: those are torch generators seeded with seed + t, so that
    neighbouring seeds share their noise, shifted; ours hash (seed, t), as RALR's do, in a stream of their own.

    Args:
        base_scheduler: As for RALR, with the same guarantees.
        pct: Bound of the noise, in (0, 1).
        start, stop: Steps between which there is noise, counted from 0; no ``stop`` is none.
        seed: Any integer >= 0.

    Raises:
        InputError: As RALR.

    References:
        timm, ``timm/scheduler/scheduler.py``, ``_add_noise`` and ``_calculate_noise``.
    """

    def __init__(
        self,
        base_scheduler: LRScheduler,
        pct: float = 0.67,
        start: int = 0,
        stop: int | None = None,
        seed: int = 0,
    ) -> None:
        self._law = Noise(pct, start, stop)
        self._seed = check_count("seed", seed)
        super().__init__(base_scheduler)

    def _draw_at(self, steps: int) -> Draw:
        return self._law.at(self._seed, steps)

    def _settings(self) -> dict[str, Any]:
        law = self._law
        return {"pct": law.pct, "start": law.start, "stop": law.stop, "seed": self._seed}
