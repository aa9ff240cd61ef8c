"""How far the weights move: closed forms of straight lines, random walks and hand-made angles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from ralr_viz.analysis.angle import angle_between
from ralr_viz.analysis.movement import compute_movement
from ralr_viz.analysis.movement.weights import find_normalised
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.run import RunRecord


def record(
    path: np.ndarray, lr: float | np.ndarray = 0.1, *, method: str = "baseline", epochs: int | None = None
) -> RunRecord:
    """The record of a run whose weights are (epochs + 1, d), the first row before training."""
    n = len(path) - 1
    metrics = {
        "step_length": np.linalg.norm(np.diff(path, axis=0), axis=1),
        "distance_from_init": np.linalg.norm(path[1:] - path[0], axis=1),
        "weight_norm": np.linalg.norm(path[1:], axis=1),
        "lr": np.broadcast_to(lr, (n,)).astype(np.float64),
    }
    recipe = {"epochs": epochs or n}
    return RunRecord("R", method, 0, np.arange(1, n + 1), metrics, recipe=recipe)


def kept(path: np.ndarray, epochs=None) -> dict[int, dict[str, np.ndarray]]:
    """States of a layer of 2 filters and a bias of one, split from d = 2k + 1 numbers."""
    chosen = range(1, len(path)) if epochs is None else epochs
    return {
        e: {
            "conv.weight": path[e, :-1].reshape(2, -1),
            "bn.bias": path[e, -1:],
            "bn.running_mean": np.full(3, 1e6),
        }
        for e in chosen
    }


def value(result, name: str, i: int = 0) -> float:
    return float(next(m for m in result.measures() if m.name == name).values[i])


def predictions(predicted, split="test", indices=None) -> PredictionsResult:
    predicted = np.asarray(predicted)
    n = len(predicted)
    maps = np.zeros((n, 0, 0), np.float32)
    return PredictionsResult(
        model="m",
        indices=np.arange(n) if indices is None else indices,
        labels=np.zeros(n, np.int64),
        logits=np.eye(4, dtype=np.float32)[predicted],
        features=np.zeros((n, 1), np.float32),
        feature_layer="f",
        true_maps=maps,
        predicted_maps=maps,
        map_layer="",
        dataset="squares",
        split=split,
    )


def test_movement_on_a_straight_line_has_path_equal_to_net():
    line = 1 + np.arange(10)[:, None] * np.array([0.3, 0.4, 0, 0, 0])
    result = compute_movement([(record(line, lr=0.2), kept(line))])
    assert value(result, "path") == pytest.approx(4.5)
    assert value(result, "path_net_ratio") == pytest.approx(1)
    assert value(result, "late_path_net_ratio") == pytest.approx(1)
    assert value(result, "late_net") == pytest.approx(1.5)  # after 6 of 9
    assert value(result, "late_path_per_lr") == pytest.approx(1.5 / 0.6)
    assert value(result, "late_net_per_lr") == pytest.approx(1.5 / 0.6)
    assert value(result, "path_per_lr") == pytest.approx(4.5 / 1.8)
    assert value(result, "late_angle") == pytest.approx(0, abs=1e-6)


def test_movement_of_a_random_walk_has_ratio_sqrt_of_its_steps():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(30, 20001))
    walk = np.concatenate([np.zeros((1, 20001)), steps.cumsum(axis=0)])
    result = compute_movement([(record(walk), kept(walk))])
    assert value(result, "path_net_ratio") == pytest.approx(np.sqrt(30), rel=0.02)
    assert value(result, "late_path_net_ratio") == pytest.approx(np.sqrt(10), rel=0.02)
    assert value(result, "late_angle") == pytest.approx(90, abs=1)


def test_movement_angles_by_hand():
    moves = np.array([[1, 0], [0, 2], [0, -1], [-1, -1], [3, 3]], dtype=float)
    path = np.zeros((6, 5))
    path[1:, :2] = moves.cumsum(axis=0)
    result = compute_movement([(record(path), kept(path))])
    # the first step has no state before it
    np.testing.assert_allclose(result.angle[0], [np.nan, np.nan, 180, 45, 180])
    gap = compute_movement([(record(path), kept(path, [1, 2, 4, 5]))])
    assert np.isnan(gap.angle).all()


def test_angle_between_keeps_its_digits_near_zero_and_knows_no_angle_of_nothing():
    a, b = np.array([[1.0, 0], [1, 0], [0, 0]]), np.array([[1, 1e-9], [-2, 0], [1, 0]])
    np.testing.assert_allclose(angle_between(a, b), [np.degrees(1e-9), 180, np.nan])


def test_movement_of_filters_and_layers_by_hand():
    path = np.zeros((4, 5))
    path[2] = [3, 0, 0, 2, 1]
    path[3] = [0, 6, 0, 4, 3]  # the first filter turns by 90° and grows, the second only grows
    result = compute_movement([(record(path), kept(path))])
    np.testing.assert_allclose(result.filter_angle, [[90, 0]])
    np.testing.assert_allclose(result.layer_angle, [[45]])
    assert result.layers == ("conv",)
    np.testing.assert_allclose(result.layer_net, [[7]])  # √(9 + 36 + 4)
    np.testing.assert_allclose(result.relative_change, [[700 / np.sqrt(13)]])
    assert value(result, "late_net") == pytest.approx(np.sqrt(53))  # the bias too, running statistics never
    assert value(result, "late_relative_change") == pytest.approx(100 * np.sqrt(53 / 14))
    assert value(result, "late_filter_angle") == pytest.approx(45)


def test_angular_path_adds_the_turns_of_filters_between_the_states_that_all_have_kept():
    turns = np.array([0.0, 0, 0, 30, 60, 120, 150])  # degrees after each epoch; late after 4 of 6
    path = np.zeros((7, 5))
    path[:, 0], path[:, 1] = np.cos(np.radians(turns)), np.sin(np.radians(turns))
    path[:, 2] = np.arange(1, 8)  # the second filter only grows
    every = compute_movement([(record(path), kept(path))])
    assert every.late_steps.tolist() == [2]
    np.testing.assert_allclose(every.angular_path, [[90, 0]], atol=1e-5)
    np.testing.assert_allclose(every.filter_angle, [[90, 0]], atol=1e-5)
    assert value(every, "late_angular_path") == pytest.approx(45)
    assert every.measures()[0].label == "angular path of filters, late, 2 kept steps"
    back = path.copy()
    back[6, :2] = back[4, :2]  # there and back: the angle between the ends is 0, the path is not
    whole = compute_movement([(record(back), kept(back))])
    np.testing.assert_allclose(whole.angular_path, [[120, 0]], atol=1e-5)
    few = compute_movement([(record(back), kept(back)), (record(back, method="ralr"), kept(back, [4, 6]))])
    assert few.late_steps.tolist() == [1, 1]  # a path of fewer states is shorter: both are of the same
    np.testing.assert_allclose(few.late_angular_path, [0, 0], atol=1e-5)


def test_angular_path_is_of_the_layers_that_a_normalisation_follows():
    """Of others a rescaling changes the function; of a network without any normalisation all count."""
    before = {
        "conv.weight": np.eye(2)[:, :, None, None], "conv.bias": np.zeros(2), "bn.weight": np.ones(2),
        "bn.bias": np.zeros(2), "fc.weight": np.eye(2), "fc.bias": np.zeros(2),
    }  # fmt: skip
    after = before | {"conv.weight": before["conv.weight"][::-1], "fc.weight": -before["fc.weight"]}
    assert find_normalised(before).tolist() == [True, False]
    run = record(np.ones((4, 5)).cumsum(axis=0))
    assert value(compute_movement([(run, {2: before, 3: after})]), "late_angular_path") == pytest.approx(90)
    bare = [{k: v for k, v in state.items() if "bn" not in k} for state in (before, after)]
    assert value(
        compute_movement([(run, dict(zip((2, 3), bare, strict=True)))]), "late_angular_path"
    ) == pytest.approx(135)
    dead = after | {"conv.weight": np.array([[[[0.0]], [[1.0]]], [[[0.0]], [[0.0]]]])}
    found = compute_movement([(run, {2: before, 3: dead})])
    assert value(found, "late_angular_path") == pytest.approx(90)  # the filter without length has no angle


def _train(scale: float, epochs: int = 6) -> tuple[RunRecord, dict[int, dict], list[torch.Tensor]]:
    """A network whose weights before a normalisation are scaled, at the rate and decay that leave it the same network."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 5, bias=False), torch.nn.BatchNorm1d(5, eps=1e-12), torch.nn.ReLU(), torch.nn.Linear(5, 3)
    ).double()  # fmt: skip
    x, y = torch.randn(64, 6, dtype=torch.float64), torch.randint(3, (64,))
    with torch.no_grad():
        net[0].weight *= scale
    groups = [
        {"params": [net[0].weight], "lr": 0.2 * scale**2, "weight_decay": 0.01 / scale**2},
        {"params": [*net[1].parameters(), *net[3].parameters()], "lr": 0.2, "weight_decay": 0.01},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    states, steps, logits, before = {}, [], [], net[0].weight.detach().clone()
    for epoch in range(1, epochs + 1):
        for i in range(0, 64, 16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[i : i + 16]), y[i : i + 16]).backward()
            optimizer.step()
        states[epoch] = {name: p.detach().clone() for name, p in net.named_parameters()}
        steps.append(float((net[0].weight.detach() - before).norm()))
        before = net[0].weight.detach().clone()
        logits.append(net(x).detach())
    metrics = {"step_length": np.array(steps), "lr": np.full(epochs, 0.2 * scale**2)}
    return (
        RunRecord("R", f"scale {scale}", 0, np.arange(1, epochs + 1), metrics, recipe={"epochs": epochs}),
        states,
        logits,
    )


def test_angular_path_and_function_change_stay_where_a_rescaling_halves_path_per_lr():
    """w → 2w, η → 4η, wd → wd/4 before a normalisation: the same network after every step (van Laarhoven 2017)."""
    runs = [_train(scale) for scale in (1.0, 2.0)]
    torch.testing.assert_close(runs[0][2], runs[1][2], rtol=1e-7, atol=1e-7)
    late = [
        dataclasses.replace(predictions([0] * 64), logits=of[e].numpy().astype(np.float32))
        for *_, of in runs
        for e in (3, 5)
    ]
    result = compute_movement([run[:2] for run in runs], late=late)
    angles, change = (
        next(m for m in result.measures() if m.name == n) for n in ("late_angular_path", "function_change")
    )
    assert angles.values[0] > 1 and angles.values[1] == pytest.approx(angles.values[0], rel=1e-4)
    assert change.values[0] > 0.1 and change.values[1] == pytest.approx(change.values[0], rel=1e-4)
    old = next(m for m in result.measures() if m.name == "late_path_per_lr").values
    assert old[1] == pytest.approx(old[0] / 2, rel=1e-4)


def test_function_change_is_the_probability_that_moves_with_draws_over_images():
    path = np.random.default_rng(3).normal(size=(4, 5))
    sure, fair = (np.log(np.array([p] * 100)).astype(np.float32) for p in ([0.9, 0.05, 0.05], [1 / 3] * 3))
    before, after = (dataclasses.replace(predictions([0] * 100), logits=logits) for logits in (sure, fair))
    half = dataclasses.replace(after, logits=np.concatenate([fair[:50], sure[:50]]))
    runs = [record(path), record(path, method="ralr"), record(path, method="scaled")]
    both = [(run, kept(path)) for run in runs[:2]]
    result = compute_movement([*both, runs[2]], late=[before, after, before, half])
    change = next(m for m in result.measures() if m.name == "function_change")
    whole = 100 * (0.9 - 1 / 3)
    np.testing.assert_allclose(change.values, [whole, whole / 2, np.nan], rtol=1e-5)
    assert change.unit == "%" and change.count == 100
    low, high = change.interval(1)[1:]
    assert low < whole / 2 < high and np.isnan(change.interval(2)[1:]).all()
    assert change.interval(0)[1:] == pytest.approx((whole, whole), rel=1e-5)


def test_movement_of_records_alone_leaves_the_rest_unknown():
    path = np.random.default_rng(1).normal(size=(13, 5)).cumsum(axis=0)
    run = record(path, lr=np.linspace(0.1, 0.2, 12))
    result = compute_movement([run])
    steps = run.metrics["step_length"]
    assert value(result, "late_path") == pytest.approx(steps[8:].sum())
    assert value(result, "late_sum_lr") == pytest.approx(run.metrics["lr"][8:].sum())
    relative = 100 * steps / run.metrics["weight_norm"]
    assert value(result, "late_relative_step") == pytest.approx(relative[8:].mean())
    for name in ("late_net", "late_angle", "late_filter_angle", "late_relative_change"):
        assert np.isnan(value(result, name))
    assert result.layers == () and result.measures()[0].name == "late_angular_path"
    assert np.isnan(value(result, "late_angular_path"))
    assert "function_change" not in {m.name for m in result.measures()}
    assert "the states after 8 and 12 epochs are not kept" in result.notes[0]
    assert not {"churn", "churn_per_lr"} & {m.name for m in result.measures()}


def test_movement_takes_tensors_and_reads_one_state_at_a_time():
    path = np.random.default_rng(2).normal(size=(13, 5))
    arrays = kept(path)

    class Lazy(Mapping):
        looked: list[int] = []  # noqa: RUF012

        def __getitem__(self, epoch):
            self.looked.append(epoch)
            return {k: torch.tensor(v, requires_grad=True) for k, v in arrays[epoch].items()}

        def __iter__(self):
            return iter(arrays)

        def __len__(self):
            return len(arrays)

    seen: list[tuple[int, int, str]] = []
    lazy = compute_movement([(record(path), Lazy())], progress=lambda *at: seen.append(at))
    assert lazy == compute_movement([(record(path), arrays)])
    assert Lazy.looked == list(range(1, 13))
    assert seen == [(i, 12, "weights") for i in range(1, 13)]


def test_movement_churn_is_the_share_of_changed_predictions_with_common_draws():
    path = np.random.default_rng(3).normal(size=(4, 5))
    before, after = predictions([0, 1, 2, 3] * 25), predictions([0, 1, 2, 0] * 25)
    runs = [record(path, lr=0.5), record(path, method="ralr"), record(path, method="scaled")]
    both = [(run, kept(path)) for run in runs[:2]]
    result = compute_movement([*both, runs[2]], late=[before, after] * 2)
    churn = next(m for m in result.measures() if m.name == "churn")
    np.testing.assert_allclose(churn.values, [25, 25, np.nan])
    assert churn.interval(0) == pytest.approx((25, 17, 34), abs=1)  # ± 1.96·√(25·75/100)
    value, low, high = churn.difference(0, 1)
    assert value == 0 and -5 < low < 0 < high < 5  # none of 100 changed
    assert np.isnan(churn.interval(2)).all()
    per_lr = next(m for m in result.measures() if m.name == "churn_per_lr")
    np.testing.assert_allclose(per_lr.values, [50, 250, np.nan])
    assert (result.dataset, result.split, result.num_images) == ("squares", "test", 100)
    assert compute_movement(runs, late=[before, after] * 3, seed=1).churn_draws().std() > 0


def test_movement_of_an_unfinished_run_has_no_sums():
    path = np.random.default_rng(4).normal(size=(10, 5))
    runs = [record(path), record(path, method="ralr", epochs=12)]
    result = compute_movement([(run, kept(path)) for run in runs])
    assert np.isfinite(value(result, "path", 0))
    for name in ("path", "late_path", "late_path_per_lr", "late_net"):
        assert np.isnan(value(result, name, 1))
    assert any("9 of 12 epochs" in note for note in result.notes)


def test_movement_with_a_missing_epoch_has_no_sum():
    run = record(np.random.default_rng(5).normal(size=(10, 5)))
    run.metrics["step_length"][7] = np.nan
    result = compute_movement([run])
    assert np.isnan([value(result, "path"), value(result, "late_path")]).all()
    holey = dataclasses.replace(
        run, epoch=np.delete(run.epoch, 2), metrics={k: np.delete(v, 2) for k, v in run.metrics.items()}
    )
    assert np.isnan(value(compute_movement([holey]), "path"))


def test_movement_of_one_epoch_has_no_late_phase():
    result = compute_movement([record(np.ones((2, 5)).cumsum(axis=0))])
    assert np.isnan(value(result, "late_path_per_lr")) and np.isfinite(value(result, "path"))


def test_movement_survives_saving(tmp_path):
    path = np.random.default_rng(6).normal(size=(7, 5))
    result = compute_movement([(record(path), kept(path)), record(path, method="ralr")])
    assert load_result(save_result(result, tmp_path / "r")) == result
    assert np.isnan(result.layer_net[1]).all()


def test_movement_refuses_what_cannot_be_compared():
    path = np.random.default_rng(7).normal(size=(4, 5))
    run, other = record(path), {e: {"fc.weight": np.ones((2, 2))} for e in (2, 3)}
    with pytest.raises(InputError, match="no run"):
        compute_movement([])
    with pytest.raises(InputError, match="one architecture"):
        compute_movement([(run, kept(path)), (run, other)])
    wide = {e: {"conv.weight": np.ones((3, 2)), "bn.bias": np.ones(1)} for e in (2, 3)}
    with pytest.raises(InputError, match="another width"):
        compute_movement([(run, kept(path)), (run, wide)])
    with pytest.raises(InputError, match="step_length"):
        compute_movement([RunRecord("", "mine", None, np.array([1, 2]), {"lr": np.ones(2)})])
    p, q = predictions([0, 1]), predictions([0, 1], split="val")
    with pytest.raises(InputError, match="other images"):
        compute_movement([run], late=[p, q])
