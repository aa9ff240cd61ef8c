"""RALR as a torch scheduler that owns the scheduler it amplifies."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ralr_viz.errors import InputError
from ralr_viz.schedule.factors import Amplification, check_count

LR = float | Tensor


class RALR(LRScheduler):
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
            or for each batch if it is called once a batch.
        draw: ``"uniform"``, or ``"integer"`` for a λ among the integers of [low, high].

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

    # LRScheduler.__init__ is not called: it would make the initial step that the base has made already.
    def __init__(
        self,
        base_scheduler: LRScheduler,
        low: float = 1.0,
        high: float = 3.0,
        probability: float = 0.5,
        seed: int = 0,
        interval: int = 1,
        draw: str = "uniform",
    ) -> None:
        if not isinstance(base_scheduler, LRScheduler):
            raise InputError(
                f"`base_scheduler` is a {type(base_scheduler).__name__}: it must be a torch LRScheduler; "
                "wrap the optimizer in one first, such as MultiStepLR"
            )
        if any(isinstance(scheduler, RALR) for scheduler in _nested(base_scheduler)):
            raise InputError(
                "`base_scheduler` is or contains a RALR: two amplifications would multiply; "
                "RALR must be outermost, use one"
            )
        self.base_scheduler = base_scheduler
        self._law = Amplification(low, high, probability, draw)
        self._seed = check_count("seed", seed)
        self._interval = check_count("interval", interval, minimum=1)
        if self._law.low < 1:
            warnings.warn(
                f"`low` is {self._law.low}: below 1 the LR can also shrink, which is not the paper's RALR; "
                "use low=1.0 to only amplify",
                UserWarning,
                stacklevel=2,
            )
        self._steps = 0
        self._draw = self._law.at(self._seed, 0)
        self._clean = _read_lrs(self.optimizer)
        self._write_lrs(amplified=True)

    @property
    def optimizer(self) -> Optimizer:  # type: ignore[override]
        """The base's optimizer."""
        return self.base_scheduler.optimizer

    @property
    def factor(self) -> float:
        """What the base's LRs are multiplied by now; 1.0 where the draw did not amplify."""
        return self._draw.factor

    @property
    def amplified(self) -> bool:
        """Whether the current draw amplified (p_e < p_r)."""
        return self._draw.amplified

    @property
    def base_lr(self) -> list[float]:
        """The LRs that the base asks for now, one per parameter group; waits for the device of Tensor LRs."""
        return [float(lr) for lr in self._clean]

    @property
    def last_epoch(self) -> int:
        """Number of ``step()`` calls so far. Read-only."""
        return self._steps

    @last_epoch.setter
    def last_epoch(self, _: int) -> NoReturn:
        # SequentialLR winds back the schedulers that it is given by this attribute.
        raise InputError(
            "`last_epoch` of a RALR cannot be set, as SequentialLR does: RALR must be outermost; "
            "write RALR(SequentialLR(...))"
        )

    def get_last_lr(self) -> list[LR]:
        """The LRs in use, one per parameter group; Tensor LRs as copies."""
        return _read_lrs(self.optimizer)

    def get_lr(self) -> list[LR]:
        """The LRs in use, as :meth:`get_last_lr`."""
        return self.get_last_lr()

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Steps the base on its own LRs, then amplifies what it sets.

        Call it where the base's ``step`` would be called, with the same arguments.

        Raises:
            InputError: Since the last call a parameter group was added or somebody else changed an LR.
        """
        self._check_lrs_untouched()
        self._write_lrs(amplified=False)
        try:
            self.base_scheduler.step(*args, **kwargs)
        except BaseException:
            self._write_lrs(amplified=True)
            raise
        self._steps += 1
        self._draw = self._law.at(self._seed, self._steps // self._interval)
        self._clean = _read_lrs(self.optimizer)
        self._write_lrs(amplified=True)

    def state_dict(self) -> dict[str, Any]:
        """The state as numbers, strings and lists, with the base's own ``state_dict()`` under ``"base"``.

        Returns a copy that later steps do not change; ``torch.load(weights_only=True)`` reads it if it reads
        the base's (and the seed has no more than 2,000 bits).
        """
        return {
            **self._settings(),
            "steps": self._steps,
            "clean_lrs": self.base_lr,
            "momenta": _read_momenta(self.optimizer) if _cycles_momentum(self.base_scheduler) else None,
            "base": copy.deepcopy(self.base_scheduler.state_dict()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up a saved state and writes its LRs into the optimizer. ``state_dict`` is not changed.

        Raises:
            InputError: Not a RALR's state, or one of other settings or another number of parameter groups;
                nothing was changed.
        """
        self._check_state(state_dict)
        # Copied, because some of torch's schedulers keep, or take items out of, the dict that they load.
        self.base_scheduler.load_state_dict(copy.deepcopy(state_dict["base"]))
        self._steps = state_dict["steps"]
        self._draw = self._law.at(self._seed, self._steps // self._interval)
        self._clean = list(state_dict["clean_lrs"])
        self._write_lrs(amplified=False)
        self._clean = _read_lrs(self.optimizer)  # as tensors where the optimizer has them
        self._write_lrs(amplified=True)
        if state_dict["momenta"] is not None:
            _write_momenta(self.optimizer, state_dict["momenta"])

    def _settings(self) -> dict[str, Any]:
        return {
            "low": self._law.low,
            "high": self._law.high,
            "probability": self._law.probability,
            "seed": self._seed,
            "interval": self._interval,
            "draw": self._law.draw,
            "base_scheduler": type(self.base_scheduler).__name__,
        }

    def _check_state(self, state: dict[str, Any]) -> None:
        settings = self._settings()
        for key in (*settings, "steps", "clean_lrs", "momenta", "base"):
            if key not in state:
                raise InputError(
                    f"`{key}` is not in `state_dict`: it must be what RALR.state_dict() returned; "
                    "load another scheduler's state into that scheduler"
                )
        for name, value in settings.items():
            if state[name] != value:
                raise InputError(
                    f"`{name}` is {value!r} but {state[name]!r} in `state_dict`: they must agree to resume; "
                    "build RALR as it was when saved"
                )
        check_count("steps", state["steps"])
        self._check_group_count(len(state["clean_lrs"]))

    def _write_lrs(self, *, amplified: bool) -> None:
        # From the clean LRs each time, never in place: groups may share one Tensor LR. Times 1.0 is exact.
        for group, lr in zip(self.optimizer.param_groups, self._clean, strict=True):
            _write_lr(group, lr * self.factor if amplified else lr)

    def _check_group_count(self, expected: int) -> None:
        count = len(self.optimizer.param_groups)
        if count != expected:
            raise InputError(
                f"`optimizer.param_groups` are {count}, RALR's are {expected}: their number must not change; "
                "build the base scheduler and RALR after the last add_param_group"
            )

    def _check_lrs_untouched(self) -> None:
        self._check_group_count(len(self._clean))
        for i, (group, clean) in enumerate(zip(self.optimizer.param_groups, self._clean, strict=True)):
            lr = group["lr"]
            if isinstance(lr, Tensor) or isinstance(clean, Tensor):
                continue
            expected = clean * self.factor
            if lr != expected and not math.isnan(expected):
                raise InputError(
                    f"`lr` of parameter group {i} is {lr}, RALR wrote {expected}: only RALR may change it; "
                    "keep RALR outermost, load its state with the optimizer's, or write its LRs again by "
                    "scheduler.load_state_dict(scheduler.state_dict())"
                )


def _read_lrs(optimizer: Optimizer) -> list[LR]:
    # Tensor LRs are copied: an alias would change with the group's, or be left behind when
    # optimizer.load_state_dict replaces the tensor.
    return [
        group["lr"].detach().clone() if isinstance(group["lr"], Tensor) else group["lr"]
        for group in optimizer.param_groups
    ]


def _write_lr(group: dict[str, Any], lr: LR) -> None:
    if not isinstance(group["lr"], Tensor):
        group["lr"] = float(lr) if isinstance(lr, Tensor) else lr
    elif isinstance(lr, Tensor):
        group["lr"].copy_(lr)
    else:
        group["lr"].fill_(lr)


def _nested(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    yield scheduler
    for inner in getattr(scheduler, "_schedulers", ()):
        yield from _nested(inner)


def _cycles_momentum(scheduler: LRScheduler) -> bool:
    return any(getattr(inner, "cycle_momentum", False) for inner in _nested(scheduler))


def _read_momenta(optimizer: Optimizer) -> list[float]:
    # OneCycleLR and CyclicLR cycle `momentum`, or beta 1 where the optimizer has betas.
    return [
        float(group["betas"][0] if "betas" in group else group["momentum"])
        for group in optimizer.param_groups
    ]


def _write_momenta(optimizer: Optimizer, momenta: list[float]) -> None:
    for group, momentum in zip(optimizer.param_groups, momenta, strict=True):
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum
