"""Two real gloo ranks train a translation as one process does: each step is the mean over the tokens of both parts."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from ralr_viz.recipe import load_recipe
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.prepare import prepare_run

pytestmark = pytest.mark.timeout(600)
SHORT = runpy.run_path(str(Path(__file__).parents[2] / "numbers_settings.py"))["SHORT"]

# A parent that has imported torch forks the single process and both ranks.
DRIVER = textwrap.dedent(
    """
    import os, socket, sys, traceback
    import torch
    torch.set_num_threads(1)
    from ralr_viz.cli import app
    from ralr_viz.tasks.translation import task
    import ralr_viz.train.distributed, ralr_viz.train.loop  # before the fork
    torch.optim.SGD([torch.zeros(1)], lr=0.1)

    def launch(name, size):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pids = []
        for rank in range(size):
            pids.append(os.fork())
            if pids[-1] == 0:
                code = 99
                try:
                    if size > 1:
                        os.environ |= {
                            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
                            "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                        }
                    sys.argv = ["ralr-viz", "run", name, "--data", sys.argv[1], "--device", "cpu"]
                    app.main()
                except SystemExit as error:
                    code = error.code or 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
        assert not any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), name

    launch(sys.argv[2], 1)
    launch(sys.argv[3], 2)
    """
)


@pytest.mark.slow
def test_two_ranks_train_what_one_process_does(tmp_path):
    # without dropout, whose draws are of each rank's part; Adam's ε is of the size of a gradient, below which it
    # would turn the rounding of sums in another order into whole steps
    more = ("dropout=0.0", "epochs=2", "average=0", "epsilon=1e-4", "subset=200")
    recipe = load_recipe("numbers-transformer-tiny", [*SHORT, *more])
    runs = [prepare_run(recipe, "ralr", 1, tmp_path / name) for name in ("one", "two")]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path / "data"), *map(str, runs)],
        capture_output=True, text=True, timeout=500, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (read_checkpoint(run / "checkpoints" / "last.pt")["model"] for run in runs)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5)
    records = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in runs
    ]
    for ours, theirs in zip(*records, strict=True):
        for name in ("train_loss", "grad_norm", "val_loss", "test_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
