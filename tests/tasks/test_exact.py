"""Sums are float64, also where the device has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ralr_viz.tasks.classification.loss import Classification
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.own import task


def test_exact_keeps_device_and_graph(device: str) -> None:
    x = torch.tensor([1.5, 2.0], device=device, requires_grad=True)
    found = exact(x)
    assert found.dtype == torch.float64 and found.device == x.device and found.tolist() == [1.5, 2.0]
    found.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["classification", "own"])
def test_sums_of_a_task_on_mps_are_on_the_host(kind: str) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):  # which knows how results are placed, without the device
        x, y = torch.zeros(4, 3, device="mps"), torch.zeros(4, dtype=torch.int64, device="mps")
        model = nn.Identity()
        work = Classification(np.zeros(4, dtype=np.int64))
        if kind == "own":
            work = task([(x, y)], lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
        for value in (*work.evaluate(model, (x, y)), *work.each(model, (x, y))):
            if value is not None:
                assert value.device.type == "cpu" and value.dtype in (torch.float64, torch.bool)
