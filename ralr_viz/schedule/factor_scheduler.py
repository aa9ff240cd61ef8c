"""A torch scheduler that owns another one and multiplies what that one sets."""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from ralr_viz.errors import InputError
from ralr_viz.schedule.factors import Draw, check_count

LR = float | Tensor


class FactorScheduler(LRScheduler):
    """Multiplies the learning rates of a base scheduler by a factor that depends on the number of steps alone.

    Nothing compounds: the base gets its own LRs back before it steps, so schedulers that compute the next LR
    from ``group["lr"]`` never see a multiplied one. An LR whose factor is 1 is the base's to the last bit.
    Factor 0 is applied at construction.

    A child sets what its law needs, then calls ``super().__init__``; it defines `_draw_at` and `_settings`.

    Args:
        base_scheduler: Any torch scheduler, on any optimizer; it is stepped by this one from here on.

    Raises:
        InputError: A base that is none, or is or contains a scheduler of this kind; at ``step``, a parameter
            group added later or an LR changed by somebody else.
    """

    # What a state that was saved before a setting existed had for it.
    _added_settings: ClassVar[dict[str, Any]] = {}

    # LRScheduler.__init__ is not called: it would make the initial step that the base has made already.
    def __init__(self, base_scheduler: LRScheduler) -> None:
        name = type(self).__name__
        if not isinstance(base_scheduler, LRScheduler):
            raise InputError(
                f"`base_scheduler` is a {type(base_scheduler).__name__}: it must be a torch LRScheduler; "
                "wrap the optimizer in one first, such as MultiStepLR"
            )
        for scheduler in nested_schedulers(base_scheduler):
            if isinstance(scheduler, FactorScheduler):
                raise InputError(
                    f"`base_scheduler` is or contains a {type(scheduler).__name__}: two factors would "
                    f"multiply; {name} must be outermost, use one"
                )
        self.base_scheduler = base_scheduler
        _warn_of_captured_floats(self.optimizer, name)
        self._steps = 0
        self._draw = self._draw_at(0)
        self._clean = _read_lrs(self.optimizer)
        self._write_lrs(multiplied=True)

    @abstractmethod
    def _draw_at(self, steps: int) -> Draw:
        """The draw in use after so many ``step()`` calls."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What a saved state must agree in, by name."""

    @property
    def optimizer(self) -> Optimizer:  # type: ignore[override]
        """The base's optimizer."""
        return self.base_scheduler.optimizer

    @property
    def factor(self) -> float:
        """What the base's LRs are multiplied by now; 1.0 where the draw leaves them."""
        return self._draw.factor

    @property
    def amplified(self) -> bool:
        """Whether the current draw multiplies; False where the factor is 1 because nothing was to be drawn."""
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
        name = type(self).__name__
        raise InputError(
            f"`last_epoch` of a {name} cannot be set, as SequentialLR does: {name} must be outermost; "
            f"write {name}(SequentialLR(...))"
        )

    def get_last_lr(self) -> list[LR]:
        """The LRs in use, one per parameter group; Tensor LRs as copies."""
        return _read_lrs(self.optimizer)

    def get_lr(self) -> list[LR]:
        """The LRs in use, as :meth:`get_last_lr`."""
        return self.get_last_lr()

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Steps the base on its own LRs, then multiplies what it sets.

        Call it where the base's ``step`` would be called, with the same arguments.

        Raises:
            InputError: Since the last call a parameter group was added or somebody else changed an LR.
        """
        self._step_base(*args, **kwargs)
        self._steps += 1
        self._draw = self._draw_at(self._steps)
        self._write_lrs(multiplied=True)

    def step_base(self) -> None:
        """Steps the base alone, under the same factor: for a base that moves each batch where the factor is an epoch's.

        Of the n batches of an epoch call it after all but the last, after which `step` moves both.

        Raises:
            InputError: As `step`.
        """
        self._step_base()
        self._write_lrs(multiplied=True)

    def _step_base(self, *args: Any, **kwargs: Any) -> None:
        self._check_lrs_untouched()
        self._write_lrs(multiplied=False)
        try:
            self.base_scheduler.step(*args, **kwargs)
        except BaseException:
            self._write_lrs(multiplied=True)
            raise
        self._clean = _read_lrs(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """The state as numbers, strings and lists, with the base's own ``state_dict()`` under ``"base"``.

        Returns a copy that later steps do not change; ``torch.load(weights_only=True)`` reads it if it reads
        the base's (and the seed has no more than 2,000 bits).
        """
        return {
            **self._identity(),
            "steps": self._steps,
            "clean_lrs": self.base_lr,
            "momenta": _read_momenta(self.optimizer) if _cycles_momentum(self.base_scheduler) else None,
            "base": copy.deepcopy(self.base_scheduler.state_dict()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up a saved state and writes its LRs into the optimizer. ``state_dict`` is not changed.

        Raises:
            InputError: Not a state of this kind, or one of other settings or another number of parameter groups;
                nothing was changed.
        """
        self._check_state(state_dict)
        # Copied, because some of torch's schedulers keep, or take items out of, the dict that they load.
        self.base_scheduler.load_state_dict(copy.deepcopy(state_dict["base"]))
        self._steps = state_dict["steps"]
        self._draw = self._draw_at(self._steps)
        self._clean = list(state_dict["clean_lrs"])
        self._write_lrs(multiplied=False)
        self._clean = _read_lrs(self.optimizer)  # as tensors where the optimizer has them
        self._write_lrs(multiplied=True)
        if state_dict["momenta"] is not None:
            _write_momenta(self.optimizer, state_dict["momenta"])

    def _identity(self) -> dict[str, Any]:
        return self._settings() | {"base_scheduler": type(self.base_scheduler).__name__}

    def _check_state(self, state: dict[str, Any]) -> None:
        settings, kind = self._identity(), type(self).__name__
        state = self._added_settings | state
        for key in (*settings, "steps", "clean_lrs", "momenta", "base"):
            if key not in state:
                raise InputError(
                    f"`{key}` is not in `state_dict`: it must be what {kind}.state_dict() returned; "
                    "load another scheduler's state into that scheduler"
                )
        for name, value in settings.items():
            if state[name] != value:
                raise InputError(
                    f"`{name}` is {value!r} but {state[name]!r} in `state_dict`: they must agree to resume; "
                    f"build {kind} as it was when saved"
                )
        check_count("steps", state["steps"])
        self._check_group_count(len(state["clean_lrs"]))

    def _write_lrs(self, *, multiplied: bool) -> None:
        # From the clean LRs each time, never in place: groups may share one Tensor LR. Times 1.0 is exact.
        for group, lr in zip(self.optimizer.param_groups, self._clean, strict=True):
            _write_lr(group, lr * self.factor if multiplied else lr)

    def _check_group_count(self, expected: int) -> None:
        count, name = len(self.optimizer.param_groups), type(self).__name__
        if count != expected:
            raise InputError(
                f"`optimizer.param_groups` are {count}, {name}'s are {expected}: their number must not change; "
                f"build the base scheduler and {name} after the last add_param_group"
            )

    def _check_lrs_untouched(self) -> None:
        self._check_group_count(len(self._clean))
        for i, (group, clean) in enumerate(zip(self.optimizer.param_groups, self._clean, strict=True)):
            lr = group["lr"]
            if isinstance(lr, Tensor) or isinstance(clean, Tensor):
                continue
            expected, name = clean * self.factor, type(self).__name__
            if lr != expected and not math.isnan(expected):
                raise InputError(
                    f"`lr` of parameter group {i} is {lr}, {name} wrote {expected}: only {name} may change it; "
                    f"keep {name} outermost, load its state with the optimizer's, or write its LRs again by "
                    "scheduler.load_state_dict(scheduler.state_dict())"
                )


def warn_of_batches(base_scheduler: LRScheduler, interval: int, name: str) -> None:
    """Warn where each ``step`` would draw anew, and the base is one that is usually stepped after each batch.

    Hundreds of draws an epoch average out: what is left of RALR is its mean, the `scaled` control.
    """
    for inner in nested_schedulers(base_scheduler) if interval == 1 else ():
        if isinstance(inner, OneCycleLR | CyclicLR) or hasattr(inner, "total_steps"):
            warnings.warn(
                f"{name} with `interval` 1 around {type(inner).__name__} draws at each `step`: if you step once a batch, "
                "pass interval=len(loader), so that it draws once an epoch as in the paper",
                UserWarning,
                stacklevel=3,
            )
            return


def _warn_of_captured_floats(optimizer: Optimizer, name: str) -> None:
    """Warn where a step may be captured with a number for an LR, of which the graph knows no other."""
    for i, group in enumerate(optimizer.param_groups):
        if group.get("capturable") and not isinstance(group["lr"], Tensor):
            warnings.warn(
                f"`lr` of parameter group {i} is a number and its optimizer `capturable`: a step captured in a CUDA graph "
                f"keeps it, and {name} changes nothing; pass lr=torch.tensor({group['lr']:g})",
                UserWarning,
                stacklevel=4,
            )
            return


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


def nested_schedulers(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    """The scheduler and those inside it, as of SequentialLR and ChainedScheduler."""
    yield scheduler
    for inner in getattr(scheduler, "_schedulers", ()):
        yield from nested_schedulers(inner)


def _cycles_momentum(scheduler: LRScheduler) -> bool:
    return any(getattr(inner, "cycle_momentum", False) for inner in nested_schedulers(scheduler))


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
