"""Optimizer and learning-rate schedule of a recipe."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
)

from ralr_viz.errors import InputError
from ralr_viz.own_code import call_named, check_allowed, names_code
from ralr_viz.recipe import Recipe, check_method
from ralr_viz.recipe.settings import to_epoch
from ralr_viz.schedule import RALR, LRNoise, MatchedRALR, mean_factor
from ralr_viz.schedule.factor_scheduler import FactorScheduler


def build_optimizer(
    recipe: Recipe, groups: Sequence[dict[str, Any]], device: torch.device
) -> torch.optim.Optimizer:
    """The recipe's optimizer; fused where torch has it for the device.

    Args:
        recipe: Says which, and with what.
        groups: Of parameters, each with ``params`` and, where its rate is not the recipe's, ``lr``.
        device: That they are on.

    Raises:
        InputError: A class of the user's own that is not allowed, cannot be made or is no optimizer.
    """
    options: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if names_code(recipe.optimizer):
        check_allowed("optimizer", recipe.optimizer)
        options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
        made = call_named(recipe.optimizer, params=list(groups), **options)
        if not isinstance(made, torch.optim.Optimizer):
            raise InputError(
                f"`optimizer` = `{recipe.optimizer}` made a {type(made).__name__}: name a torch.optim.Optimizer"
            )
        return made
    options["fused"] = device.type != "mps"
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **options)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, **options)
    if device.type == "cuda":  # Adagrad is fused on the CPU only
        options["fused"] = False
    return torch.optim.Adagrad(groups, **options)


def build_base_scheduler(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int = 1) -> LRScheduler:
    """The recipe's schedule before any method multiplies it, to be stepped once an epoch.

    Only the learning rate is scheduled: where torch would cycle the momentum too, it does not here.

    Args:
        recipe: Says which. One with ``warmup_steps`` is stepped once a batch.
        optimizer: Whose rates it sets.
        steps: Batches of an epoch.

    References:
        Loshchilov & Hutter, SGDR (2017); Smith, Cyclical learning rates (2017); Smith & Topin,
        Super-convergence (2018).
    """
    if recipe.moves_each_step:
        return LambdaLR(optimizer, _warm(recipe, steps))
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    match recipe.schedule:
        case "multistep":
            return MultiStepLR(optimizer, list(recipe.milestone_epochs), gamma=recipe.gamma)
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=recipe.epochs)
        case "sgdr":
            period = to_epoch(recipe.restart_epochs, recipe.epochs)
            return CosineAnnealingWarmRestarts(optimizer, period, T_mult=recipe.restart_factor)
        case "cyclical":
            half = to_epoch(recipe.cycle, recipe.epochs) / 2
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = rate * recipe.lr_floor
            return CyclicLR(
                optimizer,
                [rate * recipe.lr_floor for rate in rates],
                rates,
                step_size_up=half,  # type: ignore[arg-type]  # torch takes a float as well
                cycle_momentum=False,
                last_epoch=0,  # an epoch has the rate at its end, so that the last one of a cycle has the floor
            )
        case "onecycle":
            return OneCycleLR(optimizer, rates, total_steps=recipe.epochs, cycle_momentum=False)
        case _:
            return ConstantLR(optimizer, factor=1.0)


def _warm(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Share of the highest rate after so many batches.

    References:
        Vaswani et al., Attention is all you need (2017), section 5.3, for ``inverse_sqrt``.
    """
    length = recipe.warmup_steps
    if recipe.schedule == "inverse_sqrt":
        return lambda done: min((done + 1) / length, math.sqrt(length / (done + 1)))
    base, _ = preview_lr(replace(recipe, warmup_steps=0), "baseline", 0)
    shares = base / recipe.lr
    return lambda done: min((done + 1) / length, 1.0) * shares[min(done // steps, len(shares) - 1)]


def build_scheduler(
    recipe: Recipe, method: str, seed: int, optimizer: torch.optim.Optimizer, steps: int = 1
) -> FactorScheduler:
    """Base schedule and method: RALR, constants in its place for the controls, or noise.

    ``baseline`` is the factor 1, ``scaled`` the mean of RALR's law: both are exact special cases, so that the
    arms run the same code. ``matched`` is the mean of this seed's own draws, piece by piece.
    """
    check_method(method)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".* draws at each `step`", UserWarning
        )  # our loop steps once an epoch
        return _build(recipe, method, seed, optimizer, steps)


def _build(
    recipe: Recipe, method: str, seed: int, optimizer: torch.optim.Optimizer, steps: int
) -> FactorScheduler:
    base, first = build_base_scheduler(recipe, optimizer, steps), recipe.first_amplified
    law = recipe.low, recipe.high, recipe.probability
    if method == "ralr":
        return RALR(base, *law, seed, recipe.interval, recipe.draw, amplify_from=first)
    if method == "matched" and recipe.moves_each_step:
        raise InputError(
            f"`warmup_steps` = {recipe.warmup_steps}: the rate moves each step, for which `matched` is not defined; take scaled"
        )
    if method == "matched":
        decays = recipe.milestone_epochs if recipe.schedule == "multistep" else ()
        pieces = {epoch for epoch in decays if epoch < recipe.epochs}
        return MatchedRALR(base, recipe.epochs, *law, seed, recipe.interval, recipe.draw, first, pieces)
    if method == "noise":
        return LRNoise(base, recipe.noise_pct, *recipe.noise_epochs, seed)
    if method == "baseline":
        return _constant(base, 1.0, seed)
    return _constant(base, mean_factor(*law, recipe.draw), seed, amplify_from=first)


def _constant(base: LRScheduler, factor: float, seed: int = 0, amplify_from: int = 0) -> RALR:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`low` is", UserWarning)  # a factor below 1 is meant
        return RALR(base, factor, factor, 1.0, seed, amplify_from=amplify_from)


def hold_factor(scheduler: FactorScheduler, factor: float) -> RALR:
    """A schedule that takes over another's base scheduler where that is, at one factor from here on.

    The optimizer's LRs are the base's times ``factor`` afterwards; step the returned schedule only.

    Args:
        scheduler: Of any factors.
        factor: Finite, > 0.

    Raises:
        InputError: A factor outside this.
    """
    saved = scheduler.state_dict()
    held = _constant(scheduler.base_scheduler, factor)
    # at its making it took the amplified LRs for the base's own
    taken = {name: saved[name] for name in ("steps", "clean_lrs", "momenta", "base")}
    held.load_state_dict(held.state_dict() | taken)
    return held


def hold_rates(scheduler: FactorScheduler, rates: Sequence[float]) -> RALR:
    """A schedule that leaves another's optimizer at these learning rates from here on.

    Args:
        scheduler: Of any factors; its base is stepped no more.
        rates: Of each parameter group, > 0.
    """
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
        group["initial_lr"] = rate
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lr_scheduler.step.*", UserWarning)
        return _constant(LambdaLR(scheduler.optimizer, lambda _: 1.0), 1.0)


def preview_lr(recipe: Recipe, method: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The base LR and the factor that each epoch will use, by stepping the real schedulers.

    Returns:
        float64 arrays (epochs,), (epochs,); the LR in use is their product.

    Raises:
        InputError: The base LR moves each step: how many an epoch has is the data's business.
    """
    if recipe.moves_each_step:
        raise InputError(
            f"`warmup_steps` = {recipe.warmup_steps}: the rate moves each step, and how many an epoch has is not known before "
            "the data are read: train, and look at the records by curves"
        )
    rate = nn.Parameter(torch.zeros(1))
    plain = replace(recipe, optimizer="sgd") if names_code(recipe.optimizer) else recipe  # of the same rates
    optimizer = build_optimizer(plain, [{"params": [rate]}], rate.device)
    scheduler = build_scheduler(recipe, method, seed, optimizer)
    base, factor = np.empty(recipe.epochs), np.empty(recipe.epochs)
    for epoch in range(recipe.epochs):
        base[epoch], factor[epoch] = scheduler.base_lr[0], scheduler.factor
        optimizer.step()  # without gradients it does nothing, but torch warns where it is missing
        scheduler.step()
    return base, factor
