"""A step that is captured in a CUDA graph, or compiled on the CPU, sees each factor: the LR is one tensor, written in place."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from ralr_viz.schedule import RALR, amplification_factors

EPOCHS, SEED, LOW = 6, 0, 2.0
Step = Callable[[], object]
OPTIMIZERS: dict[str, Callable[[list[Tensor], Tensor], Optimizer]] = {
    "sgd": lambda parameters, lr: SGD(parameters, lr=lr, momentum=0.9, fused=lr.is_cuda),
    "adam": lambda parameters, lr: Adam(parameters, lr=lr, capturable=lr.is_cuda),
}


def run_eagerly(optimizer: Optimizer) -> Step:
    return optimizer.step


def capture(optimizer: Optimizer) -> Step:
    """The step as a graph that is replayed; on the CPU, compiled once for all LRs."""
    if not optimizer.param_groups[0]["lr"].is_cuda:
        # to machine code where it is quick to make; Adam's as far as what is compiled for all LRs is decided
        compiler = "inductor" if isinstance(optimizer, SGD) else "aot_eager"
        return torch.compile(optimizer.step, backend=compiler)
    replay: list[Step] = []

    def step() -> None:
        if not optimizer.state:  # its first step makes what the graph keeps
            optimizer.step()
            return
        if not replay:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):  # records, without running
                optimizer.step()
            replay.append(graph.replay)
        replay[0]()

    return step


def train(
    name: str, device: str, wrap: Callable[[Optimizer], Step], probability: float = 0.5
) -> list[Tensor]:
    """Weights after each epoch of two steps on given gradients."""
    weights = [torch.linspace(-1, 1, 12, device=device), torch.ones(3, 2, device=device)]
    optimizer = OPTIMIZERS[name](weights, torch.tensor(0.1, device=device))
    scheduler = RALR(MultiStepLR(optimizer, [4]), low=LOW, probability=probability, seed=SEED)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)  # in which each step's gradient is written
    step, trace, generator = wrap(optimizer), [], torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for _ in range(2):
            for weight in weights:
                weight.grad.copy_(torch.randn(weight.shape, generator=generator))
            step()
        scheduler.step()
        trace.append(torch.cat([weight.flatten() for weight in weights]).cpu().clone())
    return trace


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_captured_step_moves_the_weights_as_the_eager_one_over_changes_of_the_factor(
    device: str, name: str
) -> None:
    if device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("torch.compile needs a C++ compiler")
    assert len(set(amplification_factors(SEED, EPOCHS, low=LOW))) > 3
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    eager, captured = (train(name, device, wrap) for wrap in (run_eagerly, capture))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    plain = train(name, device, run_eagerly, probability=0.0)
    for ours, theirs in zip(captured, eager, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # steps are 0.1 long
    assert not torch.allclose(
        eager[-1], plain[-1], rtol=1e-2
    )  # of which a step with one LR for good would be
    assert graphs <= 2  # the first step, which makes the momentum, and all others: not one for each LR


def test_ralr_warns_of_a_number_that_a_graph_would_keep() -> None:
    weights = [torch.ones(2, requires_grad=True)]
    number, tensor = (Adam(weights, lr=lr, capturable=True) for lr in (0.1, torch.tensor(0.1)))
    with pytest.warns(
        UserWarning, match=r"`lr` of parameter group 0 .* RALR changes nothing; .*torch.tensor\(0.1\)"
    ) as seen:
        RALR(MultiStepLR(number, [4]))
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RALR(MultiStepLR(tensor, [4]))
        RALR(MultiStepLR(Adam(weights, lr=0.1), [4]))
