"""What computing every noun of networks promises: progress reaches its end, and nothing is left on the networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.comparison import Comparison, compare
from ralr_viz.nouns import NOUNS
from ralr_viz.results.bundle import Result
from ralr_viz.runtime.device import resolve_runtime

SMALL: dict[str, dict[str, Any]] = {
    "sharpness": {"directions": 2, "worst_starts": 1, "worst_steps": 1},
    "spectrum": {"probes": 2, "density_probes": 1, "steps": 3, "basis": 3},
    "noise_scale": {"small": 4, "big": 12},
    "barrier": {"points": 3},
    "similarity": {"minibatch": 8},
    "landscape": {"points": 3},
    "localisation": {"sanity": 6, "faithfulness": 4, "resamples": 10},
    "calibration": {"resamples": 10},
    "collapse": {"resamples": 10},
    "cam": {"method": "scorecam"},
}
"""Options that make a noun quick; none is needed."""
OF_NETWORKS = [
    noun
    for noun in NOUNS.values()
    if noun.takes in ("networks", "networks or path", "pairs", "pairs and nulls", "pictures")
    and (noun.of_any_task or "classification" in noun.tasks)
]


ROUNDING: set[tuple[str, str]] = set()
"""How products and convolutions were rounded in the forward passes of `Small`."""


class Small(nn.Sequential):
    """A network with BatchNorm, a map and a linear head."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ROUNDING.add(tuple(switch.fp32_precision for switch in switches(x.device.type)))
        return super().forward(x)

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )


def switches(on: str) -> list[Any]:
    """What decides how products and convolutions of fp32 numbers are rounded there."""
    backends: Any = torch.backends
    return [backends.cuda.matmul, (backends.cudnn if on == "cuda" else backends.mkldnn).conv]


@pytest.fixture
def rounded(device: str) -> Iterator[None]:
    """TF32 wherever torch can have it, by its new switches, on which the old ones may not be read."""
    before = [(switch, switch.fp32_precision) for switch in switches(device)]
    for switch, _ in before:
        switch.fp32_precision = "tf32"
    ROUNDING.clear()
    yield
    for switch, value in before:
        switch.fp32_precision = value


@pytest.fixture
def networks() -> list[Small]:
    return [Small(0).train(), Small(1).train()]


@pytest.fixture
def pair(device: str, networks: list[Small]) -> Comparison:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 12, 12, 3), dtype=np.uint8)
    boxes = np.tile(np.array([2, 2, 8, 8], dtype=np.int16), (48, 1))
    named = dict(zip("ab", networks, strict=True))
    return compare(
        named,
        images=images,
        labels=np.arange(48) % 3,
        boxes=boxes,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        device=device,
    )


NOT_CONTINUOUS = {
    "embedding": "t-SNE multiplies any rounding",
    "spectrum": "residuals are rounding alone",
}
"""Why a noun's arrays are not those of the CPU to `TOLERANCE`."""
TOLERANCE = 1e-3
"""Largest difference, in shares of an array's largest magnitude: fp32 sums in another order, as resamples grow it."""


def assert_same_numbers(result: Result, expected: Result) -> None:
    for field in dataclasses.fields(result):
        ours, theirs = getattr(result, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f" and theirs.size:
            largest = np.abs(np.nan_to_num(theirs, posinf=0, neginf=0)).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * largest, err_msg=field.name)


@pytest.mark.usefixtures("rounded")
@pytest.mark.parametrize("noun", OF_NETWORKS, ids=lambda noun: noun.name)
def test_computing_is_exact_reaches_its_end_and_leaves_all_as_it_was(noun, networks, pair) -> None:
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in networks]
    steps: dict[str, list[tuple[int, int]]] = {}

    def progress(done: int, total: int, what: str) -> None:
        steps.setdefault(what, []).append((done, total))

    subject = (pair, pair) if noun.name == "collapse" else (pair,)  # whose training images are no data set's
    result = noun.load("compute")(*subject, **SMALL.get(noun.name, {}), progress=progress)
    assert result.kind == noun.name
    assert {("ieee", "ieee")} == ROUNDING
    assert [switch.fp32_precision for switch in switches(pair.runtime.device.type)] == ["tf32", "tf32"]
    if pair.runtime.device.type != "cpu" and noun.name not in NOT_CONTINUOUS:
        on_cpu = [dataclasses.replace(c, runtime=resolve_runtime("cpu", "fp32")) for c in subject]
        assert_same_numbers(result, noun.load("compute")(*on_cpu, **SMALL.get(noun.name, {})))
    assert steps
    for what, of_what in steps.items():
        assert of_what[-1][0] == of_what[-1][1], what
        assert [done for done, _ in of_what] == sorted(done for done, _ in of_what), what
    for model, state in zip(networks, before, strict=True):
        assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
