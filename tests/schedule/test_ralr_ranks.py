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
import os
import sys
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR
from ralr_viz import RALR, MatchedRALR

torch.set_num_threads(1)
SGD([torch.zeros(1)], lr=0.1)  # torch imports its compiler at the first optimizer: once, before the fork
child = os.fork()
rank, store = int(child == 0), sys.argv[1]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(rank)  # unlike global generators must not matter
traces = {}
for method in ("ralr", "matched"):
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    base = CosineAnnealingLR(optimizer, T_max=8)
    scheduler = MatchedRALR(base, 8, seed=5) if method == "matched" else RALR(base, seed=5)
    trace = traces[method] = []
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        trace.append(scheduler.factor)
        trace += scheduler.get_last_lr()
        trace += [float(weight.detach().sum()) for weight in model.parameters()]
        scheduler.step()
os.write(1, json.dumps(traces).encode() + b"\\n")  # at once: the ranks share the pipe
dist.destroy_process_group()
if rank == 0:
    os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without distributed")
def test_ralr_ranks_use_equal_lrs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RANK, str(tmp_path / "store")],
        capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    # Not the exit code: now and then torch aborts a rank after its work, while gloo's threads are torn down.
    traces = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(traces) == 2, done.stderr
    assert traces[0] == traces[1]
    drawn = amplification_factors(5, 8)
    assert traces[0]["ralr"][::4] == drawn.tolist()
    base = 0.1 * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    np.testing.assert_allclose(traces[0]["matched"][::4], matched_factors(base, drawn), rtol=1e-12)
