"""RALR without its scatter, as a torch scheduler: the sharpest control of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ralr_viz.errors import InputError
from ralr_viz.foreign import describe_error
from ralr_viz.schedule.factor_scheduler import FactorScheduler, nested_schedulers, warn_of_batches
from ralr_viz.schedule.factors import Amplification, Draw, check_count
from ralr_viz.schedule.pieces import matched_factors


class MatchedRALR(FactorScheduler):
    r"""Multiplies the learning rate that another scheduler has set by what RALR of this seed does on average.

    Within each piece between two decays of the base, and after ``amplify_from``, every step has the same factor

    .. math:: c = \frac{\sum_t \eta_t f_t}{\sum_t \eta_t},

    with η the base's LRs and f the factors that ``RALR`` draws with the same arguments. So Σ LR of each piece is
    RALR's and only the scatter of its factors is gone; Σ LR² is smaller. `scaled`, the mean of the law, differs
    from a run of RALR in both.

    Args:
        base_scheduler: As for RALR, with the same guarantees. Its LRs must be known beforehand.
        total_steps: Number of ``step()`` calls of the whole training, >= 1.
        low, high, probability, seed, interval, draw, amplify_from: As RALR's.
        decays: ``step()`` calls after which a new piece begins, in [1, total_steps); None finds where the base
            falls from one plateau to a lower one (`ralr_viz.schedule.find_decays`): MultiStepLR and StepLR have
            their milestones, a smooth base such as a cosine is one piece.

    Raises:
        InputError: An argument outside these rules; a base that waits for a metric, such as ReduceLROnPlateau,
            cannot be stepped beforehand, or whose parameter groups do not keep the ratio of their LRs; at
            ``step``, more calls than ``total_steps``.

    Note:
        The base is stepped in advance on a copy, without the network. A saved state holds the constants, so a
        resumed run has those of its beginning.

    Example:
        >>> scheduler = MatchedRALR(MultiStepLR(optimizer, milestones=[150, 225]), total_steps=300, seed=0)
    """

    def __init__(
        self,
        base_scheduler: LRScheduler,
        total_steps: int,
        low: float = 1.0,
        high: float = 3.0,
        probability: float = 0.5,
        seed: int = 0,
        interval: int = 1,
        draw: str = "uniform",
        amplify_from: int = 0,
        decays: Collection[int] | None = None,
    ) -> None:
        self._law = Amplification(low, high, probability, draw)
        self._seed = check_count("seed", seed)
        self._interval = check_count("interval", interval, minimum=1)
        self._total_steps = check_count("total_steps", total_steps, minimum=1)
        self._amplify_from = check_count("amplify_from", amplify_from)
        drawn = [self._law.at(self._seed, step // self._interval).factor for step in range(self._total_steps)]
        self._factors = matched_factors(
            _base_lrs(base_scheduler, self._total_steps),
            drawn,
            amplify_from=min(self._amplify_from, self._total_steps),
            decays=decays,
        )
        super().__init__(base_scheduler)
        warn_of_batches(base_scheduler, self._interval, "MatchedRALR")

    def _draw_at(self, steps: int) -> Draw:
        if steps > self._total_steps:
            raise InputError(
                f"`step` was called {steps} times, `total_steps` is {self._total_steps}: the constants are means "
                "over so many; build MatchedRALR for the whole training"
            )
        factor = float(self._factors[steps]) if steps < self._total_steps else 1.0
        return Draw(factor != 1.0, factor)

    def _settings(self) -> dict[str, Any]:
        law = self._law
        return {
            **{"low": law.low, "high": law.high, "probability": law.probability, "draw": law.draw},
            **{"seed": self._seed, "interval": self._interval},
            **{"total_steps": self._total_steps, "amplify_from": self._amplify_from},
        }

    def state_dict(self) -> dict[str, Any]:
        """As `FactorScheduler.state_dict`, with ``"pieces"``: the first step and the constant of each."""
        starts = np.flatnonzero(np.diff(self._factors, prepend=np.nan))
        pieces = [[int(t), float(self._factors[t])] for t in starts]
        return super().state_dict() | {"pieces": pieces}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As `FactorScheduler.load_state_dict`; the constants are the saved ones.

        Raises:
            InputError: As there, or ``"pieces"`` is missing or damaged; nothing was changed.
        """
        self._check_state(state_dict)
        pieces = state_dict.get("pieces")
        try:
            starts, constants = np.array(pieces, dtype=np.float64).reshape(-1, 2).T
            lengths = np.diff(starts, append=self._total_steps).astype(np.int64)
            factors = np.repeat(constants, lengths)
            if starts[0] or (lengths < 1).any() or not (constants > 0).all():
                raise ValueError
        except (ValueError, TypeError, IndexError):
            raise InputError(
                "`pieces` of `state_dict` is not the first step and the factor of each piece: it must be what "
                "MatchedRALR.state_dict() returned"
            ) from None
        self._factors = factors
        super().load_state_dict(state_dict)


def _base_lrs(base_scheduler: LRScheduler, steps: int) -> np.ndarray:
    """LR of the first parameter group in each of the next steps, float64 (steps,).

    Raises:
        InputError: It cannot be known, or the groups have no common shape.
    """
    if not isinstance(base_scheduler, LRScheduler):
        return np.zeros(steps)  # FactorScheduler says what is wrong with it
    if any(isinstance(inner, ReduceLROnPlateau) for inner in nested_schedulers(base_scheduler)):
        raise InputError(
            "`base_scheduler` is or contains ReduceLROnPlateau, whose LRs depend on the training: MatchedRALR must "
            "know them beforehand; use another base or the `scaled` control"
        )
    lrs = np.array(_step_on_a_copy(base_scheduler, steps))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = lrs / lrs[:, :1]
    moving = np.isfinite(ratios).all(axis=1)
    if not np.allclose(ratios[moving], ratios[moving][:1], rtol=1e-6, atol=0):
        raise InputError(
            "the parameter groups of `base_scheduler` follow different schedules, so no single factor leaves Σ LR of "
            "each: give them one schedule"
        )
    return lrs[:, 0]


def _step_on_a_copy(base_scheduler: LRScheduler, steps: int) -> list[list[float]]:
    optimizer = base_scheduler.optimizer
    stand_in = SGD([{"params": []} for _ in optimizer.param_groups], lr=0.0)
    for own, group in zip(stand_in.param_groups, optimizer.param_groups, strict=True):
        own |= {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
    stand_in.defaults = copy.deepcopy(optimizer.defaults)
    try:
        memo: dict[int, Optimizer] = {id(optimizer): stand_in}
        base = copy.deepcopy(base_scheduler, memo)
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the stand-in is never stepped
            for step in range(steps):
                found.append([float(group["lr"]) for group in stand_in.param_groups])
                if step + 1 < steps:
                    base.step()
    except InputError:
        raise
    except Exception as error:  # whatever somebody's own scheduler raises
        raise InputError(
            f"`base_scheduler` cannot be stepped {steps} times beforehand ({describe_error(error)}): "
            "MatchedRALR must know its LRs; check `total_steps`"
        ) from error
    return found
