"""Every noun on a published pair, held against the numbers that it gave before: a restructuring changes none.

The pair is in the repository, the images are not: the tests need the imported data sets (``$RALR_VIZ_DATA``, else the
user's cache) and are marked ``slow``. ``RALR_VIZ_GOLDEN=write pytest -m slow tests/test_golden.py`` writes the numbers
anew, which is for a change that is meant to change them, and says so.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ralr_viz.data import data_root

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
TINY, SHORT = "checkpoints/cifar10-resnet20-tiny", "checkpoints/tiny-imagenet-50-resnet20-short"
PAIR = ["--ckpt", f"{TINY}/baseline/seed0", "--ckpt", f"{TINY}/ralr/seed0"]
RUNS = ["--run", f"{TINY}/baseline/seed0", "--run", f"{TINY}/ralr/seed0"]
SMALL = ["--limit", "200"]
COMMANDS: dict[str, list[str]] = {
    "activations": ["--ckpt", f"{TINY}/ralr/seed0@16", "--ckpt", f"{TINY}/ralr/seed0", *SMALL],
    "barrier": [*PAIR, *SMALL, "--points", "3"],
    "calibration": [*PAIR, *SMALL, "--resamples", "50"],
    "cam": [*PAIR, "--count", "4", "--rows", "gain", *SMALL],
    "collapse": [*PAIR, *SMALL, "--resamples", "50"],
    "curves": [*RUNS],
    "effect": ["--run", f"{TINY}/ralr", "--resamples", "99"],
    "embed": [*PAIR, *SMALL],
    "landscape": [*PAIR, *SMALL, "--points", "3"],
    "localisation": [
        *["--ckpt", f"{SHORT}/baseline/seed0", "--ckpt", f"{SHORT}/ralr/seed0"],
        *["--limit", "60", "--resamples", "50", "--sanity", "4", "--faithfulness", "4"],
    ],
    "movement": [*RUNS, *SMALL],
    "schedule": ["cifar10-resnet20-tiny"],
    "sharpness": [*PAIR, *SMALL, "--directions", "2", "--worst-starts", "1", "--worst-steps", "1"],
    "similarity": [*PAIR, *SMALL, "--minibatch", "50"],
    "spectrum": [
        *PAIR,
        "--limit",
        "64",
        "--probes",
        "2",
        "--density-probes",
        "1",
        "--steps",
        "4",
        "--basis",
        "4",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("noun", COMMANDS)
def test_noun_gives_the_numbers_that_it_gave(noun: str, tmp_path: Path) -> None:
    for name in ("cifar10", "tiny-imagenet-50"):
        if not (data_root() / name).is_dir():
            pytest.skip(f"`{name}` is not imported")
    command = [sys.executable, "-m", "ralr_viz", noun, *COMMANDS[noun], "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RALR_VIZ_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (found,) = tmp_path.glob("*.csv")
    golden = GOLDEN / f"{noun}.csv"
    if os.environ.get("RALR_VIZ_GOLDEN") == "write":
        golden.write_bytes(found.read_bytes())
    assert _cells(found) == [
        [
            pytest.approx(cell, rel=1e-4, abs=1e-6, nan_ok=True) if isinstance(cell, float) else cell
            for cell in row
        ]
        for row in _cells(golden)
    ]


def _cells(path: Path) -> list[list[str | float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [[_value(cell) for cell in row] for row in csv.reader(file)]


def _value(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell
