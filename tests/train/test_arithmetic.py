"""Precision is what is asked for, whoever has set which of torch's two sets of switches; and leaves no trace."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import ralr_viz
from ralr_viz.errors import InputError
from ralr_viz.runtime.arithmetic import fp32_products, rounds_to_tf32, set_fp32_products
from ralr_viz.runtime.device import Runtime, configure, configured, resolve_runtime

BACKENDS = torch.backends
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SPECIAL = {
    "matrices on CUDA": BACKENDS.cuda.matmul,
    "convolutions on CUDA": BACKENDS.cudnn.conv,
    "recurrences on CUDA": BACKENDS.cudnn.rnn,
    "matrices": BACKENDS.mkldnn.matmul,
    "convolutions": BACKENDS.mkldnn.conv,
    "recurrences": BACKENDS.mkldnn.rnn,
}


def setter(place: object, value: object, name: str = "fp32_precision") -> Callable[[], None]:
    return lambda: setattr(place, name, value)


STATES: dict[str, Callable[[], None]] = {
    "as torch has it": lambda: None,
    "old, on": lambda: (setter(BACKENDS.cuda.matmul, True, "allow_tf32")(), setter(BACKENDS.cudnn, True, "allow_tf32")()),
    "old, off": lambda: (setter(BACKENDS.cuda.matmul, False, "allow_tf32")(), setter(BACKENDS.cudnn, False, "allow_tf32")()),
    "old, medium": lambda: torch.set_float32_matmul_precision("medium"),
    "new, convolutions": setter(BACKENDS.cudnn.conv, "ieee"),
    "new, matrices": setter(BACKENDS.cuda.matmul, "tf32"),
    "new, cuDNN": setter(BACKENDS.cudnn, "ieee"),
    "new, everywhere": setter(BACKENDS, "tf32"),
    "new, the CPU's matrices": setter(BACKENDS.mkldnn.matmul, "bf16"),
    "both": lambda: (torch.set_float32_matmul_precision("high"), setter(BACKENDS.cuda.matmul, "ieee")()),
}  # fmt: skip
MIXED = {"new, convolutions", "new, matrices", "new, everywhere", "both"}
"""On which reading one of the old switches raises."""


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> Iterator[str]:
    STATES[request.param]()
    yield request.param
    for general in (BACKENDS, BACKENDS.cudnn):
        general.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    for switch in (BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn, BACKENDS.cuda.matmul):
        switch.fp32_precision = "none"


def read_old() -> list[object]:
    def try_to(read: Callable[[], object]) -> object:
        try:
            return read()
        except RuntimeError:
            return "raises"

    matmul, cudnn = BACKENDS.cuda.matmul, BACKENDS.cudnn
    reads = (lambda: matmul.allow_tf32, lambda: cudnn.allow_tf32, torch.get_float32_matmul_precision)
    return [try_to(read) for read in reads]


def read_new() -> dict[str, str]:
    return {name: switch.fp32_precision for name, switch in SPECIAL.items()}


def snapshot() -> list[object]:
    """All switches, and what becomes of them under each of the general ones."""
    found: list[object] = [read_old(), BACKENDS.fp32_precision, BACKENDS.cudnn.fp32_precision, read_new()]
    for general in (BACKENDS, BACKENDS.cudnn):
        before = general.fp32_precision
        for value in ("none", "ieee", "tf32"):
            general.fp32_precision = value
            found.append((read_old(), read_new()))
        general.fp32_precision = (
            before if general is BACKENDS or before != BACKENDS.fp32_precision else "none"
        )
    return found


def convolve_and_multiply() -> None:
    """What reads the switches: torch refuses some mixtures of them only then."""
    x = torch.ones(1, 1, 3, 3, requires_grad=True)
    torch.nn.functional.conv2d(x, torch.ones(1, 1, 3, 3)).sum().backward()
    torch.ones(2, 2) @ torch.ones(2, 2)


def test_some_of_these_states_are_those_in_which_the_old_switches_raise(state: str) -> None:
    assert "raises" in read_old() or state not in MIXED


def test_fp32_products_leaves_cudnn_its_default() -> None:
    # in a process of its own: the default, once anybody has overwritten it, cannot be set again
    code = """
import torch
from ralr_viz.runtime.arithmetic import fp32_products
for tf32 in (False, True):
    with fp32_products(torch.device("cuda"), tf32=tf32):
        pass
conv = torch.backends.cudnn.conv
assert conv.fp32_precision == "tf32"
torch.backends.cudnn.fp32_precision = "ieee"
assert conv.fp32_precision == "ieee"
torch.backends.cudnn.fp32_precision = "none"
with fp32_products(torch.device("cpu")):
    with torch.backends.cudnn.flags(enabled=False):  # as second derivatives of an LSTM need it; it reads the old switch
        pass
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("tf32", [False, True])
def test_fp32_products_sets_all_and_puts_them_back(state: str, tf32: bool) -> None:
    before, wanted = snapshot(), "tf32" if tf32 else "ieee"
    with fp32_products(CUDA, tf32=tf32):
        assert read_new() == {name: wanted if "CUDA" in name else "ieee" for name in SPECIAL}
        assert rounds_to_tf32() == tf32
        convolve_and_multiply()
        assert torch.get_float32_matmul_precision() == (
            "high" if tf32 else "highest"
        )  # torch.compile reads it
        with fp32_products(CUDA, tf32=not tf32):
            assert rounds_to_tf32() != tf32
        assert rounds_to_tf32() == tf32
    assert snapshot() == before
    with pytest.raises(ZeroDivisionError), fp32_products(CUDA, tf32=tf32):
        1 / 0  # noqa: B018
    assert snapshot() == before


@pytest.mark.parametrize("tf32", [False, True])
def test_set_fp32_products_leaves_the_old_switches_readable(state: str, tf32: bool) -> None:
    set_fp32_products(tf32=tf32)
    assert (
        read_new()["convolutions on CUDA"] == read_new()["matrices on CUDA"] == ("tf32" if tf32 else "ieee")
    )
    assert read_old() == [tf32, tf32, "high" if tf32 else "highest"]


@pytest.mark.parametrize(("precision", "expected"), [("fp32", False), ("bf16", False), ("tf32", True)])
def test_runtime_computes_what_it_says(state: str, precision: str, expected: bool) -> None:
    before = snapshot()
    for device in (CPU, CUDA):
        with Runtime(device, precision).arithmetic():
            assert rounds_to_tf32() == expected
            place = "convolutions on CUDA" if device is CUDA else "convolutions"
            assert read_new()[place] == ("tf32" if expected and device is CUDA else "ieee")
            convolve_and_multiply()
        assert snapshot() == before


def test_configured_puts_back_what_configure_leaves() -> None:
    def choices() -> list[object]:
        return [
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
            rounds_to_tf32(),
        ]

    before, changed = choices(), Runtime(CPU, "tf32", deterministic=True, threads=torch.get_num_threads() + 1)
    with configured(changed):
        within = choices()
        assert within == [False, True, True, changed.threads, True]
    assert choices() == before
    with configured(Runtime(CPU, "fp32")):  # so that this test leaves no trace itself
        configure(changed)
        assert choices() == within
    assert choices() == before


def test_determinism_is_asked_for_only_where_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it loads torch's compiler")

    monkeypatch.setattr(torch, "use_deterministic_algorithms", refuse)
    with configured(Runtime(CPU, "fp32")):
        pass
    with (
        pytest.raises(AssertionError, match="compiler"),
        configured(Runtime(CPU, "fp32", deterministic=True)),
    ):
        pass


def test_tf32_is_asked_for_where_it_is() -> None:
    with pytest.raises(
        InputError, match="`--precision tf32` needs a CUDA device .* not cpu: take fp32 or auto"
    ):
        resolve_runtime("cpu", "tf32")


def test_key_of_what_is_kept_tells_precisions_apart() -> None:
    keys = [Runtime(device, name).key for device in (CPU, CUDA) for name in ("fp32", "tf32", "bf16")]
    before = [
        {"device": device, "precision": name} for device in ("cpu", "cuda") for name in ("fp32", "bf16")
    ]
    assert len({str(key) for key in keys}) == len(keys)
    # of what was kept before, all is found again but the fp32 of CUDA, which was TF32
    assert [key in keys for key in before] == [True, True, False, True]


def test_nothing_but_a_training_of_its_own_sets_switches_for_good() -> None:
    package = Path(ralr_viz.__file__).parent
    own = ("train", "runtime")
    files = [file for file in package.rglob("*.py") if file.relative_to(package).parts[0] not in own]
    for word in (
        "configure",
        "allow_tf32",
        "set_float32_matmul_precision",
        "fp32_precision",
        "set_fp32_products",
    ):
        found = [file.name for file in files if re.search(rf"\b{word}\b", file.read_text(encoding="utf-8"))]
        assert not found, (word, found)
