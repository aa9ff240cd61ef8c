"""Ends of trainings that are trained on at low rates."""

from __future__ import annotations

from pathlib import Path

import pytest

import ralr_viz as rv
from ralr_viz.analysis.evaluation import evaluate_networks
from ralr_viz.analysis.fork import annealed
from ralr_viz.analysis.fork.annealed import anneal_end
from ralr_viz.analysis.fork.point import open_state
from ralr_viz.train.training import Training


def test_annealed_end_is_trained_at_a_tenth_and_a_hundredth_and_found_again(
    trained_pair: Path, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = trained_pair.glob("*/baseline/seed0")
    before, rates = (run / "checkpoints" / "last.pt").read_bytes(), []
    real = Training.next_epoch

    def look(training, *given):
        rates.append((training.scheduler.base_lr[0], training.scheduler.factor))
        return real(training, *given)

    monkeypatch.setattr(Training, "next_epoch", look)
    state = open_state(run, root=squares_root, device="cpu")
    scheduled = float(rv.load_run(run).values("base_lr")[-1])
    end = anneal_end(state, (1, 2), tmp_path / "ends" / "a.safetensors")
    assert [rate for rate, _ in rates] == pytest.approx([scheduled / 10, scheduled / 100, scheduled / 100])
    assert {factor for _, factor in rates} == {1.0}
    network = rv.compare([end.file], root=squares_root, split="train", device="cpu")
    assert evaluate_networks(network)[0].loss == pytest.approx(end.loss, rel=1e-5)
    assert rv.load_checkpoint(end.file).epoch == state.point.epoch + 3
    assert (run / "checkpoints" / "last.pt").read_bytes() == before

    monkeypatch.setattr(annealed, "train_branch", None)
    assert anneal_end(state, (1, 2), end.file) == end
    with pytest.raises(TypeError):  # of other epochs it is not
        anneal_end(state, (1, 1), end.file)
