"""Run directories of the tiny data set in ``tests/conftest.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ralr_viz.recipe import Recipe
from ralr_viz.tasks.classification.task import ImageClassification
from ralr_viz.train.prepare import prepare_run


@pytest.fixture
def prepare(make_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Path]:
    """``prepare(method, seed=0, …)``: a prepared run directory."""

    def make(method: str = "baseline", seed: int = 0, folder: str = "runs", **changes: object) -> Path:
        return prepare_run(make_recipe(**changes), method, seed, tmp_path / folder)

    return make


@pytest.fixture
def make_task(make_recipe: Callable[..., Recipe], squares_root: Path) -> Callable[..., ImageClassification]:
    """``make_task(label_smoothing=0.1)``: the task of four colours."""
    return lambda **changes: ImageClassification(make_recipe(**changes), squares_root)
