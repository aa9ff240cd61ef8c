"""What computes without a network needs no torch, which takes seconds to load."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("noun", ["curves", "schedule"])
def test_compute_without_a_network_loads_no_torch(noun: str) -> None:
    code = f"import sys; from ralr_viz.analysis.{noun} import compute_{noun}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
