from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ralr_viz.errors import RalrVizError
from ralr_viz.runtime import device as device_module
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.runtime.faults import named_faults
from ralr_viz.tasks.classification.task import ImageClassification
from ralr_viz.train.loop import train_run

CPU = torch.device("cpu")


def needs_a_kernel(*_: object) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))  # which has none on the CPU either
    finally:
        torch.use_deterministic_algorithms(False)


def test_named_faults_names_the_kernel_and_the_remedy() -> None:
    with (
        pytest.raises(
            RalrVizError, match="`put_`, which this network needs, has no .* on cpu: pass --fast"
        ) as found,
        named_faults(CPU, ""),
    ):
        needs_a_kernel()
    assert "\n" not in str(found.value)


def test_named_faults_leaves_other_errors_alone() -> None:
    with pytest.raises(RuntimeError, match="^a bug$"), named_faults(CPU, ""):
        raise RuntimeError("a bug")
    for error in (
        torch.OutOfMemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        with pytest.raises(RalrVizError, match="^cpu is out of memory at 3$"), named_faults(CPU, "at 3"):
            raise error


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (70, "^cuda is out of memory at 3$"),
        (10, "of which other processes hold 68.0 of 80.0 GB: wait for them, run fewer at once by --jobs"),
    ],
)
def test_lack_of_a_gpus_memory_is_blamed_on_who_holds_it(
    own: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gigabyte = 10**9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * gigabyte, 80 * gigabyte))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: own * gigabyte)
    with pytest.raises(RalrVizError, match=expected), named_faults(torch.device("cuda"), "at 3"):
        raise torch.OutOfMemoryError


def test_training_names_a_kernel_that_it_lacks(
    prepare: Callable[..., Path], squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageClassification, "train_loss", needs_a_kernel)
    with pytest.raises(RalrVizError, match="pass --fast"):
        train_run(prepare(), squares_root, device="cpu")


@pytest.mark.parametrize(("kind", "expected"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_deterministic_kernels_are_asked_for_on_cuda_alone(
    kind: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "_resolve_device", lambda _: torch.device(kind))
    assert resolve_runtime(kind, "fp32", deterministic=True).deterministic is expected
    assert resolve_runtime(kind, "fp32").deterministic is False  # analyses
