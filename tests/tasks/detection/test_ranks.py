"""Two real gloo ranks train a detector as one process does: the mean is over the positive priors of both parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.prepare import prepare_run

pytestmark = pytest.mark.timeout(600)

# A parent that has imported torch forks the single process and both ranks.
DRIVER = textwrap.dedent(
    """
    import os, socket, sys, traceback
    import torch
    torch.set_num_threads(1)
    from ralr_viz.cli import app
    from ralr_viz.tasks.detection import task
    import ralr_viz.train.distributed, ralr_viz.train.loop  # before the fork
    torch.optim.SGD([torch.zeros(1)], lr=0.1)

    class Still(task.SmallSSD):  # of the batch as a whole: BatchNorm's statistics are of each part
        def __init__(self, *given):
            super().__init__(*given)
            for module in list(self.modules()):
                for name, child in module.named_children():
                    if isinstance(child, torch.nn.BatchNorm2d):
                        setattr(module, name, torch.nn.GroupNorm(4, child.num_features))

    task.SmallSSD = Still

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
def test_two_ranks_train_what_one_process_does(make_detector, blobs_root, tmp_path):
    # 26 images in batches of 9: parts of 5 and 4, whose shares of positive priors are others
    recipe = make_detector(epochs=2, batch=9, drop_last=False)
    runs = [prepare_run(recipe, "ralr", 1, tmp_path / name) for name in ("one", "two")]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(blobs_root), *map(str, runs)],
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
        assert ours["positives"] == theirs["positives"]
        for name in ("train_loss", "train_loc_loss", "train_conf_loss", "grad_norm", "test_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
