"""What a loop of somebody's own does not say by itself: its settings, the LRs in use and how far its weights move."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ralr_viz.data import Dataset, data_root, load_dataset
from ralr_viz.errors import InputError
from ralr_viz.schedule import RALR, LRNoise, MatchedRALR
from ralr_viz.schedule.factor_scheduler import FactorScheduler

_METHODS: dict[type, str] = {RALR: "ralr", MatchedRALR: "matched", LRNoise: "noise"}
_OPTIMIZER_SETTINGS = ("momentum", "nesterov", "weight_decay", "betas")
_SCHEDULE_SETTINGS = ("milestones", "gamma", "step_size", "T_max", "T_0", "T_mult", "eta_min", "total_steps")


class LoopWatch:
    """Looks at an optimizer each time it steps, and at its weights once an epoch.

    Args:
        optimizer: Its trained parameters are what moves; None takes the scheduler's.
        scheduler: Tells the base LR from the factor where it is one of ralr-viz's.
        epochs: Planned length, where known.
        resumed: The weights of the beginning are gone, so distances from them are not recorded.

    Raises:
        InputError: Something else than a torch optimizer or a scheduler of one.
    """

    def __init__(
        self, optimizer: Optimizer | None, scheduler: Any, *, epochs: int | None, resumed: bool
    ) -> None:
        if optimizer is None:
            optimizer = getattr(scheduler, "optimizer", None)
        if not isinstance(optimizer, Optimizer):
            name, value = ("scheduler", scheduler) if optimizer is None else ("optimizer", optimizer)
            raise InputError(
                f"`{name}` is a {type(value).__name__}: give a torch optimizer or a scheduler of one"
            )
        self.optimizer, self.scheduler, self._epochs = optimizer, scheduler, epochs
        self._factors = scheduler if isinstance(scheduler, FactorScheduler) else None
        self._used: Counter[tuple[float, float, float]] = Counter()
        group = optimizer.param_groups[0]  # now: some schedules cycle the momentum, too
        self._begun_with = {name: group[name] for name in _OPTIMIZER_SETTINGS if name in group}
        self._begun_with["lr"] = float(group.get("initial_lr", self._rates()[0]))
        self._first_call = self._factors.last_epoch if self._factors else 0
        self._start = None if resumed else self._weights()
        self._before = self._start
        self._hook = optimizer.register_step_pre_hook(lambda *_: self._used.update([self._rates()]))

    def settings(self) -> dict[str, Any]:
        """Settings of optimizer and schedule under the names of a recipe, plain values.

        The law of RALR's draws is in epochs: once an epoch is over, ``interval`` of a scheduler that steps each
        batch is known, too; it is left out where it is no whole number of epochs.
        """
        found: dict[str, Any] = {"optimizer": type(self.optimizer).__name__.lower(), **self._begun_with}
        base = self._factors.base_scheduler if self._factors else self.scheduler
        found |= {"schedule": "constant" if base is None else type(base).__name__}
        for name in _SCHEDULE_SETTINGS:
            if (value := getattr(base, name, None)) is not None:
                found[name] = sorted(value.elements()) if isinstance(value, Counter) else value
        if self._factors:
            found |= self._law(self._factors)
        return {name: value for name, value in found.items() if _is_plain(value)}

    def record(self) -> dict[str, float | None]:
        """LRs of the epoch that ends now, lengths of its step and of all; None where they are not known.

        Of LRs that change within the epoch the mean over its steps is taken, of one that stays the same bits.
        """
        used = self._used or Counter([self._rates()])
        steps = used.total()
        base, lr = (math.fsum(key[i] * n for key, n in used.items()) / steps for i in (0, 1))
        if len(used) == 1:
            ((base, lr, factor),) = used
        else:
            factors = {key[2] for key in used}
            factor = factors.pop() if len(factors) == 1 else lr / base
        self._used.clear()
        now = self._weights()
        moved, away = (_distance(now, then) for then in (self._before, self._start))
        norm = math.sqrt(math.fsum(float(w.float().norm()) ** 2 for w in now.values()))
        self._before = now
        return {
            **{"base_lr": base, "factor": factor, "lr": lr},
            **{"step_length": moved, "distance_from_init": away, "weight_norm": norm},
        }

    def close(self) -> None:
        """Look no longer."""
        self._hook.remove()

    def _rates(self) -> tuple[float, float, float]:
        """Base LR, LR and factor of the first parameter group, in use now."""
        lr = float(self.optimizer.param_groups[0]["lr"])
        return (self._factors.base_lr[0], lr, self._factors.factor) if self._factors else (lr, lr, 1.0)

    def _law(self, factors: FactorScheduler) -> dict[str, Any]:
        law = {name: value for name, value in factors._settings().items() if name != "seed"}
        calls = max(factors.last_epoch - self._first_call, 1)  # of `step` in an epoch
        if "interval" in law and law["interval"] % calls and calls > 1:
            del law["interval"]
        elif "interval" in law:
            law["interval"] //= calls
        if law.get("amplify_from") and self._epochs:  # a recipe has a share of the training
            law["amplify_from"] /= calls * self._epochs
        return law

    def _weights(self) -> dict[Tensor, Tensor]:
        groups = self.optimizer.param_groups
        return {p: p.detach().clone() for group in groups for p in group["params"] if p.requires_grad}


def method_of(scheduler: Any) -> str:
    """What a scheduler makes of a training: ``ralr``, ``matched``, ``noise``, else ``baseline``."""
    return _METHODS.get(type(scheduler), "baseline")


def describe_dataset(dataset: str | Dataset | None) -> dict[str, Any]:
    """What a checkpoint says of the data that it was trained on; empty for None.

    Raises:
        InputError: A name that is not in the data root (`ralr_viz.data.data_root`).
    """
    if dataset is None:
        return {}
    store = load_dataset(dataset, data_root()) if isinstance(dataset, str) else dataset
    return {
        "dataset": store.name,
        "content_hash": store.content_hash,
        "num_classes": store.num_classes,
        "class_names": list(store.class_names),
        "image_size": store.image_size,
        "mean": list(store.mean),
        "std": list(store.std),
    }


def _distance(a: Mapping[Tensor, Tensor], b: Mapping[Tensor, Tensor] | None) -> float | None:
    """‖a − b‖ over all tensors; None where other parameters are trained than before."""
    if b is None or a.keys() != b.keys():
        return None
    return math.sqrt(math.fsum(float((w - b[p].to(w.device)).float().norm()) ** 2 for p, w in a.items()))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | bool | int | float)
