"""Optimizer and learning-rate schedule of a recipe."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR

from ralr_viz.schedule import RALR, mean_factor
from ralr_viz.train.recipe import Recipe, check_method


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters; fused where torch has it for the device."""
    device = next(model.parameters()).device.type
    options: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": device != "mps"}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), momentum=recipe.momentum, nesterov=recipe.nesterov, **options
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), **options)
    if device == "cuda":  # Adagrad is fused on the CPU only
        options["fused"] = False
    return torch.optim.Adagrad(model.parameters(), **options)


def build_scheduler(recipe: Recipe, method: str, seed: int, optimizer: torch.optim.Optimizer) -> RALR:
    """Base schedule and method: RALR, or RALR with a constant factor for the two controls.

    ``baseline`` is the factor 1, ``scaled`` the mean of RALR's: both are exact special cases, so that the
    three arms run the same code.
    """
    check_method(method)
    base: LRScheduler
    if recipe.schedule == "multistep":
        base = MultiStepLR(optimizer, list(recipe.milestone_epochs), gamma=recipe.gamma)
    elif recipe.schedule == "cosine":
        base = CosineAnnealingLR(optimizer, T_max=recipe.epochs)
    else:
        base = ConstantLR(optimizer, factor=1.0)
    if method == "ralr":
        return RALR(
            base,
            recipe.low,
            recipe.high,
            recipe.probability,
            seed,
            interval=recipe.interval,
            draw=recipe.draw,
        )
    constant = 1.0
    if method == "scaled":
        constant = mean_factor(recipe.low, recipe.high, recipe.probability, recipe.draw)
    return RALR(base, constant, constant, 1.0, seed)


def hold_factor(scheduler: RALR, factor: float) -> RALR:
    """A schedule that takes over another's base scheduler where that is, at one factor from here on.

    The optimizer's LRs are the base's times ``factor`` afterwards; step the returned schedule only.

    Args:
        scheduler: Of any factors.
        factor: Finite, > 0.

    Raises:
        InputError: A factor outside this.
    """
    saved = scheduler.state_dict()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`low` is", UserWarning)  # a factor below 1 is meant
        held = RALR(scheduler.base_scheduler, factor, factor, 1.0)
    # at its making it took the amplified LRs for the base's own
    taken = {name: saved[name] for name in ("steps", "clean_lrs", "momenta", "base")}
    held.load_state_dict(held.state_dict() | taken)
    return held


def preview_lr(recipe: Recipe, method: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The base LR and the factor that each epoch will use, by stepping the real schedulers.

    Returns:
        float64 arrays (epochs,), (epochs,); the LR in use is their product.
    """
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(recipe, model)
    scheduler = build_scheduler(recipe, method, seed, optimizer)
    base, factor = np.empty(recipe.epochs), np.empty(recipe.epochs)
    for epoch in range(recipe.epochs):
        base[epoch], factor[epoch] = scheduler.base_lr[0], scheduler.factor
        optimizer.step()  # without gradients it does nothing, but torch warns where it is missing
        scheduler.step()
    return base, factor
