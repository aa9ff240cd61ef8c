"""Layouts: the fit of one map onto another, what alignment changes, and repeatability."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from openTSNE import affinity
from scipy.spatial import procrustes
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from ralr_viz.analysis.embedding import layout
from ralr_viz.analysis.embedding.layout import Engine, displacement, fit_similarity, lay_out


@pytest.fixture(scope="module")
def digits() -> list[np.ndarray]:
    """300 digits, and the same rotated, scaled and with small noise."""
    points, rng = load_digits().data[:300], np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    return [points, 0.3 * points @ rotation + 0.3 * rng.standard_normal((300, 64))]


def engine(method: str = "tsne", threads: int = 1, **options: object) -> Engine:
    return Engine(method, 20.0, 10, threads, options.get("progress"))  # type: ignore[arg-type]


@pytest.mark.parametrize("reflect", [1, -1])
def test_fit_similarity_undoes_rotation_reflection_scale_and_shift(reflect: int) -> None:
    rng, angle = np.random.default_rng(0), 2.0
    fixed = rng.standard_normal((50, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = 7.0 * fixed @ turn * [1, reflect] + [30, -4]
    np.testing.assert_allclose(fit_similarity(moved, fixed), fixed, atol=1e-12)


def test_fit_similarity_leaves_what_scipys_procrustes_leaves() -> None:
    rng = np.random.default_rng(1)
    fixed, moving = rng.standard_normal((2, 40, 2))
    left = ((fit_similarity(moving, fixed) - fixed) ** 2).sum() / ((fixed - fixed.mean(0)) ** 2).sum()
    assert left == pytest.approx(procrustes(fixed, moving)[2])


def test_displacement_is_in_radii_of_the_first_map() -> None:
    ring = 5 * np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]) + 100
    assert displacement(ring, ring) == 0
    shift = np.array([3, 4])
    assert displacement(ring, ring + shift) == pytest.approx(1)
    assert displacement(10 * ring, 10 * (ring + shift)) == pytest.approx(1)


def test_lay_out_from_the_first_map_moves_far_less_than_independent_maps(
    digits: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_ITERATIONS", (50, 50))
    points = [p[:200] for p in digits]
    maps, floor = lay_out(engine(), points, ["a", "b"], "init", 0)
    independent, none = lay_out(engine(), points, ["a", "b"], "none", 0)
    np.testing.assert_array_equal(maps[0], independent[0])
    assert np.isnan(none)
    assert floor < 0.3
    assert floor / 3 < displacement(*maps) < displacement(*independent) / 3


def test_lay_out_starts_the_others_and_the_noise_floor_from_the_first_map() -> None:
    class Spy:
        calls: list[tuple] = []  # noqa: RUF012

        def embed(self, points: np.ndarray, start: np.ndarray | None, seed: int, name: str) -> np.ndarray:
            self.calls.append((float(points[0, 0]), start, seed))
            return np.array([[0.0, 0], [1, 0], [0, 1], [0, len(self.calls)]])

    points = [np.full((4, 3), value) for value in (1.0, 2.0, 3.0)]
    maps, floor = lay_out(Spy(), points, ["a", "b", "c"], "init", 5)  # type: ignore[arg-type]
    assert [(value, seed) for value, _, seed in Spy.calls] == [(1, 5), (2, 5), (3, 5), (1, 6)]
    assert Spy.calls[0][1] is None
    assert all(start is maps[0] for _, start, _ in Spy.calls[1:])
    again = np.array([[0.0, 0], [1, 0], [0, 1], [0, 4]])
    assert floor == displacement(maps[0], fit_similarity(again, maps[0])) > 0
    again[3, 1] = 2
    np.testing.assert_array_equal(maps[1], fit_similarity(again, maps[0]))


def test_engine_starts_tsne_where_it_is_told(
    digits: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_ITERATIONS", (1, 1))
    points, start = digits[0][:100], 30 * np.random.default_rng(0).standard_normal((100, 2))
    found = engine().embed(points, start, 0, "")
    assert displacement(start, fit_similarity(found, start)) < 0.5
    assert displacement(start, fit_similarity(engine().embed(points, None, 0, ""), start)) > 0.7
    assert not np.array_equal(found, engine().embed(points, start, 1, ""))


def test_lay_out_repeats_with_any_number_of_threads(
    digits: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_ITERATIONS", (10, 10))
    points, found = [p[:100] for p in digits], []
    for threads in (1, 2):
        with threadpool_limits(1):  # as compute_embedding does
            found.append(lay_out(engine(threads=threads), points, ["a", "b"], "init", 3))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[0][1] == found[1][1]
    other, _ = lay_out(engine(), points, ["a", "b"], "init", 4)
    assert not np.array_equal(other[0], found[0][0][0])


def test_engine_reports_each_map_and_the_approximation_of_many_points(
    digits: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_ITERATIONS", (25, 25))
    monkeypatch.setattr(layout, "_EXACT_UP_TO", 100)
    done: list[tuple[int, int, str]] = []
    jobs: list[int] = []
    neighbours = affinity.PerplexityBasedNN
    monkeypatch.setattr(
        affinity, "PerplexityBasedNN", lambda *a, **kw: (jobs.append(kw["n_jobs"]), neighbours(*a, **kw))[1]
    )
    its_engine = engine(progress=lambda *step: done.append(step))
    first = its_engine.embed(digits[0][:120], None, 0, "mine")
    assert done == [(n, 50, "t-SNE of mine") for n in (0, 25, 50)]
    np.testing.assert_array_equal(first, engine(threads=2).embed(digits[0][:120], None, 0, "mine"))
    its_engine.embed(digits[1][:120], None, 0, "mine")
    assert jobs == [1, 1, 1]  # Annoy's neighbours depend on it, from some thousand points on
    assert its_engine.notes == ["t-SNE's neighbours are approximate (Annoy) beyond 100 images"]


def test_aligned_umap_gets_all_its_seeds_and_its_warnings_become_notes(
    digits: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict] = []

    class AlignedUMAP:
        def __init__(self, **settings: object) -> None:
            calls.append(settings)

        def fit_transform(self, points: Sequence[np.ndarray], relations: object) -> list[np.ndarray]:
            calls[-1]["relations"] = relations
            warnings.warn("n_jobs value 1 overridden to 1", UserWarning, stacklevel=1)
            warnings.warn("Graph is not\nfully connected", UserWarning, stacklevel=1)
            return [p[:, :2] for p in points]

    fake = types.ModuleType("umap")
    fake.AlignedUMAP = AlignedUMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", fake)
    its_engine = engine("umap")
    maps, floor = lay_out(its_engine, [*digits, digits[1]], ["a", "b", "c"], "aligned-umap", 7)
    assert len(maps) == 3 and floor == 0
    assert [len(call["relations"]) for call in calls] == [2, 1]  # the second call is the noise floor
    assert all(r == {i: i for i in range(300)} for r in calls[0]["relations"])
    assert calls[0]["random_state"] == calls[0]["transform_seed"] == 7
    assert calls[0]["n_neighbors"] == 10
    assert its_engine.notes == ["UMAP: Graph is not fully connected"]
