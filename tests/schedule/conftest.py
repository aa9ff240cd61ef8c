"""Every scheduler and some optimizers of torch, and the trace of what a scheduler does to its optimizer."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

EPOCHS = 12
LRS = (0.1, 0.02, 0.003)
METRICS = (1.0, 0.9, 0.95, 0.95, 0.95, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)


class Halve:
    """A callable object: unlike a function, torch puts its attributes into the scheduler's state."""

    def __init__(self, every):
        self.every = every

    def __call__(self, epoch):
        return 0.5 ** (epoch // self.every)


def cycles(optimizer):
    return "momentum" in optimizer.defaults or "betas" in optimizer.defaults


BASES = {
    "lambda": lambda o: lrs.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e), Halve(4)]),
    "multiplicative": lambda o: lrs.MultiplicativeLR(o, lambda e: 0.95 if e % 2 else 1.01),
    "step": lambda o: lrs.StepLR(o, 3, gamma=0.5),
    "multistep": lambda o: lrs.MultiStepLR(o, [2, 5, 5, 9]),
    "constant": lambda o: lrs.ConstantLR(o, factor=0.3, total_iters=4),
    "linear": lambda o: lrs.LinearLR(o, start_factor=0.2, total_iters=5),
    "exponential": lambda o: lrs.ExponentialLR(o, gamma=0.9),
    "polynomial": lambda o: lrs.PolynomialLR(o, total_iters=8, power=2.0),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, T_max=5, eta_min=1e-5),
    "warm-restarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2),
    "plateau": lambda o: lrs.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=1),
    "onecycle": lambda o: lrs.OneCycleLR(
        o, [3 * lr for lr in LRS], total_steps=EPOCHS, cycle_momentum=cycles(o)
    ),
    "onecycle-three-phase": lambda o: lrs.OneCycleLR(
        o, 0.3, total_steps=EPOCHS, three_phase=True, anneal_strategy="linear", cycle_momentum=cycles(o)
    ),
    "cyclic": lambda o: lrs.CyclicLR(
        o, list(LRS), [4 * lr for lr in LRS], step_size_up=2, mode="triangular2", cycle_momentum=cycles(o)
    ),
    "cyclic-scale-fn": lambda o: lrs.CyclicLR(
        o, 0.01, 0.1, step_size_up=3, scale_fn=Halve(2), scale_mode="iterations", cycle_momentum=False
    ),
    "sequential": lambda o: lrs.SequentialLR(
        o, [lrs.LinearLR(o, 0.1, total_iters=3), lrs.ExponentialLR(o, 0.8)], milestones=[3]
    ),
    "sequential-milestone-0": lambda o: lrs.SequentialLR(
        o, [lrs.ConstantLR(o, 0.1), lrs.StepLR(o, 2), lrs.ExponentialLR(o, 0.9)], milestones=[0, 4]
    ),
    "sequential-of-chained": lambda o: lrs.SequentialLR(
        o,
        [
            lrs.ChainedScheduler([lrs.ConstantLR(o, 0.5, total_iters=2), lrs.ExponentialLR(o, 0.9)]),
            lrs.CosineAnnealingLR(o, T_max=4),
        ],
        milestones=[5],
    ),
    "chained": lambda o: lrs.ChainedScheduler(
        [lrs.ConstantLR(o, factor=0.5, total_iters=3), lrs.StepLR(o, 4), lrs.ExponentialLR(o, gamma=0.9)]
    ),
    "chained-of-sequential": lambda o: lrs.ChainedScheduler(
        [
            lrs.SequentialLR(o, [lrs.ConstantLR(o, 0.1), lrs.ExponentialLR(o, 0.9)], milestones=[2]),
            lrs.MultiStepLR(o, [6]),
        ]
    ),
    "swa": lambda o: SWALR(o, swa_lr=0.05, anneal_epochs=4),
}

OPTIMIZERS = {
    "sgd": lambda groups: SGD(groups, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adam": lambda groups: Adam(groups),
    "adamw": lambda groups: AdamW(groups),
    "adagrad": lambda groups: Adagrad(groups),
}


@pytest.fixture(scope="session")
def bases():
    """Name to function (optimizer) -> scheduler, for every scheduler that torch ships."""
    return BASES


@pytest.fixture(params=BASES)
def base(request):
    """A function (optimizer) -> scheduler; parametrised over every scheduler that torch ships."""

    def build(optimizer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a ChainedScheduler in a SequentialLR warns when it is built
            return BASES[request.param](optimizer)

    return build


@pytest.fixture(params=OPTIMIZERS)
def new_optimizer(request):
    """A function () -> optimizer of three parameter groups; parametrised over optimizers."""
    return lambda: OPTIMIZERS[request.param](_groups())


@pytest.fixture
def new_sgd():
    """A function () -> SGD of three parameter groups."""
    return lambda: OPTIMIZERS["sgd"](_groups())


@pytest.fixture
def advance():
    """A function (scheduler, epoch): the end of one epoch, for a torch scheduler or a RALR around it."""
    return _advance


@pytest.fixture
def trace():
    """A function (scheduler, first=0) -> what the optimizer holds in each epoch from ``first`` on."""

    def run(scheduler, first=0):
        records = [_record(scheduler)]
        for epoch in range(first, EPOCHS):
            _advance(scheduler, epoch)
            records.append(_record(scheduler))
        return records

    return run


def _groups():
    return [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in LRS]


def _advance(scheduler, epoch):
    scheduler.optimizer.step()
    inner = getattr(scheduler, "base_scheduler", scheduler)
    scheduler.step(*([METRICS[epoch]] if isinstance(inner, lrs.ReduceLROnPlateau) else []))


def _record(scheduler):
    groups = scheduler.optimizer.param_groups
    return [group["lr"] for group in groups], [group.get("momentum", group.get("betas")) for group in groups]
