"""How a training's network is compiled; whether it is faster is for a GPU to say."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.eager import uncompiled
from ralr_viz.runtime.ranks import ALONE, Ranks
from ralr_viz.train.compiled import compile_options


@pytest.mark.parametrize(
    ("device", "ranks", "size", "replayed"),
    [("cuda", 1, 32, True), ("cuda", 1, 224, False), ("cuda", 2, 32, False), ("cuda", 1, None, False), ("cpu", 1, 32, False)],
)  # fmt: skip
def test_compile_options_replay_small_images_on_one_gpu(
    device: str, ranks: int, size: int | None, replayed: bool
) -> None:
    together = ALONE
    if ranks > 1:
        together = Ranks()
        together.size = ranks
    options = compile_options(Runtime(torch.device(device), "bf16", compile=True), together, size)
    assert options == {"dynamic": False} | ({"mode": "reduce-overhead"} if replayed else {})


@pytest.mark.slow  # imports the compiler
def test_uncompiled_runs_what_was_compiled_as_it_was_written() -> None:
    calls, model, x = [], nn.Linear(2, 2), torch.ones(3, 2)

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        calls.append(graph)
        return graph.forward

    model.compile(backend=backend, dynamic=False)
    with uncompiled():
        model(x)
    assert not calls
    model(x)
    assert len(calls) == 1


def test_uncompiled_does_not_load_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch._dynamo")]:
        monkeypatch.delitem(sys.modules, name)
    with uncompiled():
        pass
    assert "torch._dynamo" not in sys.modules
