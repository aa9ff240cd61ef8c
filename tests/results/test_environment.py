from __future__ import annotations

from ralr_viz.results.environment import comparable, on_cuda


def test_comparable_drops_a_choice_of_kernels_that_the_cpu_has_not() -> None:
    old, asked = {"device": "cpu", "deterministic": False}, {"device": "cpu", "deterministic": True}
    assert comparable(old) == comparable(asked) == old
    assert comparable({"device": "cpu"}) == {"device": "cpu"}  # somebody's own loop
    fast = {"device": "NVIDIA H200", "deterministic": False}
    assert comparable(fast) == fast != comparable(fast | {"deterministic": True})
    assert on_cuda(fast) and not on_cuda(old) and not on_cuda({})
