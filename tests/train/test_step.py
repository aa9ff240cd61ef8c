"""One step: what it adds up, several batches in one, and the bound on the gradient."""

import pytest
import torch
from torch import nn

from ralr_viz.models import build_model
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.task import Part
from ralr_viz.train.step import Totals, train_step

CPU = Runtime(torch.device("cpu"), "fp32")


class Squares:
    """Weighted squares of a linear network's outputs: the weights are no numbers of samples."""

    def train_loss(self, network, batch, runtime):
        x, weights = batch
        losses = weights * network(x)[:, 0] ** 2
        return Part(losses.sum() / weights.sum(), weights.sum(), losses.detach().max()[None])

    def weigh(self, batch):
        return batch[1].sum()


def test_train_step_adds_loss_hits_and_gradient_norm(make_task):
    model = build_model("resnet20", 4).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    x, y = torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, y)
    norm = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm()
    totals = Totals(torch.ones(6))
    train_step(model, optimizer, make_task(), [(x, y, None)], totals, CPU)
    right = int((logits.argmax(1) == y).sum())
    expected = [1 + 8 * float(loss.detach()), 1 + right, 9, 1 + float(norm), 1, max(1, float(norm))]
    assert totals.values.tolist() == pytest.approx(expected, rel=1e-4)
    assert all(p.grad is None for p in model.parameters())


def linear():
    torch.manual_seed(3)
    model = nn.Linear(5, 1)
    return model, torch.optim.SGD(model.parameters(), 0.1)


def test_several_batches_are_one_weighted_batch():
    x, weights = torch.randn(9, 5), torch.tensor([3.0, 1, 1, 2, 7, 1, 1, 4, 1])
    ends, sums = [], []
    for cuts in ([9], [4, 5], [1, 2, 6]):
        model, optimizer = linear()
        totals = Totals.zero(1, CPU.device)
        batches = list(zip(x.split(cuts), weights.split(cuts), strict=True))
        train_step(model, optimizer, Squares(), batches, totals, CPU)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        sums.append(totals.values)
    for end, found in zip(ends[1:], sums[1:], strict=True):
        torch.testing.assert_close(end, ends[0], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(found[[0, 2, 3]], sums[0][[0, 2, 3]])
    assert sums[0][2] == weights.sum()


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_clip_bounds_the_step_and_is_counted(clip):
    model, optimizer = linear()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    totals = Totals.zero(1, CPU.device)
    batch = [(10 * torch.randn(6, 5), torch.ones(6))]
    train_step(model, optimizer, Squares(), batch, totals, CPU, clip)
    train_step(model, optimizer, Squares(), batch, totals, CPU, clip)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    norm_sum, clipped, largest = totals.values[-3:].tolist()
    assert clipped == (2 if clip == 0.5 else 0)
    assert largest <= norm_sum <= 2 * largest and largest > 5  # of the gradient before it was scaled
    assert float((after - before).norm()) <= 0.1 * 2 * clip + 1e-6 or clip != 0.5


def test_totals_of_an_older_version_are_taken_up():
    found = Totals.load(torch.tensor([2.0, 3.0, 5.0]), 64, CPU.device)
    assert found.values.tolist() == [2, 3, 64, 5, 0, 0]
    whole = torch.arange(6.0)
    assert torch.equal(Totals.load(whole, 64, CPU.device).values, whole)
