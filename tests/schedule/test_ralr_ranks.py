"""Several processes: every rank draws the same factors without talking to the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch.distributed

from ralr_viz.schedule import amplification_factors, matched_factors

RANK = """
import json
import sys
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR
from ralr_viz import RALR, MatchedRALR

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(rank)  # unlike global generators must not matter
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
base = CosineAnnealingLR(optimizer, T_max=8)
scheduler = MatchedRALR(base, 8, seed=5) if sys.argv[3] == "matched" else RALR(base, seed=5)
trace = []
for _ in range(8):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    trace.append(scheduler.factor)
    trace += scheduler.get_last_lr()
    trace += [float(weight.detach().sum()) for weight in model.parameters()]
    scheduler.step()
print(json.dumps(trace), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without distributed")
@pytest.mark.parametrize("method", ["ralr", "matched"])
def test_ralr_ranks_use_equal_lrs(tmp_path, method):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), method],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        printed = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    # Not the exit code: now and then torch aborts a rank after its work, while gloo's threads are torn down.
    assert all(out for out, _ in printed), "\n".join(error for _, error in printed)
    traces = [json.loads(out) for out, _ in printed]
    assert traces[0] == traces[1]
    drawn = amplification_factors(5, 8)
    if method == "matched":
        base = 0.1 * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
        np.testing.assert_allclose(traces[0][::4], matched_factors(base, drawn), rtol=1e-12)
    else:
        assert traces[0][::4] == drawn.tolist()
