"""Tensor LRs, as compiled, fused and capturable optimizers use them: one tensor for life, never read."""

from __future__ import annotations

import io

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as lrs
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.schedule import RALR, amplification_factors

OPTIMIZERS = {
    "sgd": lambda groups, lr: SGD(groups, lr=lr, momentum=0.9),
    "sgd-fused": lambda groups, lr: SGD(groups, lr=lr, momentum=0.9, fused=True),
    "adam-fused": lambda groups, lr: Adam(groups, lr=lr, fused=True),
}
# ReduceLROnPlateau itself reads the tensor.
SYNCING = {"plateau"}


@pytest.fixture(params=OPTIMIZERS)
def new_tensor_optimizer(request):
    """A function () -> optimizer with a float32 Tensor LR for each of three groups."""

    def build():
        groups = [
            {"params": [torch.nn.Parameter(torch.ones(2))], "lr": torch.tensor(lr)}
            for lr in (0.1, 0.02, 0.003)
        ]
        return OPTIMIZERS[request.param](groups, torch.tensor(0.1))

    return build


class Synchronisations(TorchDispatchMode):
    """Collects the operations that would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def tensors(scheduler):
    return [group["lr"] for group in scheduler.optimizer.param_groups]


def test_ralr_tensor_lr_is_bit_equal_to_amplified_base(base, new_tensor_optimizer, advance):
    plain, scheduler = base(new_tensor_optimizer()), RALR(base(new_tensor_optimizer()), low=2.0, seed=1)
    identity, history = list(map(id, tensors(scheduler))), []
    for epoch, factor in enumerate(amplification_factors(1, 12, low=2.0)):
        expected = [lr * factor if factor != 1 else lr.clone() for lr in tensors(plain)]
        assert all(map(torch.equal, tensors(scheduler), expected))
        assert scheduler.base_lr == [float(lr) for lr in tensors(plain)]
        history.append((scheduler.get_last_lr(), expected))
        advance(plain, epoch)
        advance(scheduler, epoch)
    assert list(map(id, tensors(scheduler))) == identity
    assert all(lr.dtype == torch.float32 for lr in tensors(scheduler))
    assert all(all(map(torch.equal, *pair)) for pair in history)


def test_ralr_tensor_lr_shared_by_groups_is_amplified_once(base, advance):
    # Where groups give no LR of their own, torch gives all of them one tensor.
    def build():
        groups = [{"params": [torch.nn.Parameter(torch.ones(2))]} for _ in range(3)]
        return base(SGD(groups, lr=torch.tensor(0.1), momentum=0.9))

    plain, scheduler = build(), RALR(build(), low=2.0, probability=1.0)
    for epoch, factor in enumerate(amplification_factors(0, 8, low=2.0, probability=1.0)):
        assert scheduler.get_last_lr() == [lr * factor for lr in tensors(plain)]
        advance(plain, epoch)
        advance(scheduler, epoch)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_ralr_step_does_not_wait_for_tensor_lr(bases, advance):
    for name, base in bases.items():
        groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": torch.tensor(0.1)} for _ in range(3)]
        scheduler = RALR(base(SGD(groups, lr=0.1, momentum=0.9)), probability=1.0)
        with Synchronisations() as seen:
            for epoch in range(8):
                advance(scheduler, epoch)
        assert bool(seen.found) == (name in SYNCING), (name, seen.found)


@pytest.mark.parametrize(
    "order", ["optimizer first", "optimizer last", "optimizer before base", "scheduler alone"]
)
def test_ralr_tensor_lr_resumes_exact_trace(base, new_tensor_optimizer, advance, order):
    running = RALR(base(new_tensor_optimizer()), low=2.0)
    for epoch in range(5):
        advance(running, epoch)
    file = io.BytesIO()
    torch.save([running.state_dict(), running.optimizer.state_dict()], file)
    file.seek(0)
    saved, saved_optimizer = torch.load(file, weights_only=True)

    optimizer = new_tensor_optimizer()
    if order == "optimizer before base":
        optimizer.load_state_dict(saved_optimizer)
    resumed = RALR(base(optimizer), low=2.0)
    if order == "optimizer first":
        optimizer.load_state_dict(saved_optimizer)
    identity = list(map(id, tensors(resumed)))
    resumed.load_state_dict(saved)
    assert list(map(id, tensors(resumed))) == identity
    if order == "optimizer last":
        optimizer.load_state_dict(saved_optimizer)  # replaces the tensors
    for epoch in range(5, 12):
        assert resumed.get_last_lr() == running.get_last_lr()
        assert resumed.base_lr == running.base_lr
        advance(resumed, epoch)
        advance(running, epoch)


@pytest.mark.parametrize("kinds", [(float, torch.tensor), (torch.tensor, float)])
def test_ralr_follows_optimizer_state_that_changes_the_kind_of_lr(kinds):
    def build(kind):
        return RALR(
            lrs.ExponentialLR(SGD([torch.zeros(1, requires_grad=True)], lr=kind(0.5)), 0.5), low=2.0, seed=2
        )

    mine, saved = map(build, kinds)
    mine.optimizer.load_state_dict(saved.optimizer.state_dict())
    for _ in range(6):
        for scheduler in (mine, saved):
            scheduler.optimizer.step()
            scheduler.step()
        assert [float(lr) for lr in mine.get_last_lr()] == pytest.approx(
            [float(lr) for lr in saved.get_last_lr()]
        )
        assert type(tensors(mine)[0]) is type(tensors(saved)[0])
