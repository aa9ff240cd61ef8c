"""Anybody's objective: a language model, a segmentation network and a regression, through every diagnostic of weights."""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ralr_viz as rv
from ralr_viz.analysis.objective import objective_of
from ralr_viz.cli.app import main
from ralr_viz.errors import InputError
from ralr_viz.nouns import NOUNS
from ralr_viz.tasks.own import OwnTask, load_task

OF_WEIGHTS: dict[str, dict[str, Any]] = {
    "barrier": {"points": 3},
    "sharpness": {"directions": 2, "worst_starts": 1, "worst_steps": 1},
    "spectrum": {"probes": 2, "density_probes": 1, "steps": 3, "basis": 3},
    "noise_scale": {"small": 1, "big": 2, "draws": 3},
    "landscape": {"points": 3, "line": True},
}
WORDS = 12


class LanguageModel(nn.Module):
    """Predicts the next of a few words by torch's own transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
        return self.head(self.encoder(self.embedding(words), mask=mask, is_causal=True))


def make_texts() -> list[dict[str, Tensor]]:
    """Each word is followed by the one three further on, with gaps of unknown words (0) at the end."""
    start = torch.arange(48).reshape(8, 6, 1) % 11
    words = 1 + (start + 3 * torch.arange(9)) % 11
    words[:, :, 7:] = torch.where(torch.arange(8)[:, None, None] % 2 == 0, 0, words[:, :, 7:])
    return [{"words": batch} for batch in words]


def loss_of_texts(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    words = batch["words"]
    logits, target = model(words[:, :-1]), words[:, 1:]
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=0, reduction="sum")
    return loss, (target != 0).sum()


def share_right(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    target = batch["words"][:, 1:]
    right = (model(batch["words"][:, :-1]).argmax(2) == target) & (target != 0)
    return 100 * right.sum(), (target != 0).sum()


def make_masks() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 4, 3, 8, 8, generator=generator)
    return [(x, (x.mean(1) > 0.5).long()) for x in images]


def make_segmenter() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def make_points() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 5, 3, generator=generator)
    return [(part, part @ torch.tensor([1.0, -2.0, 0.5])) for part in x]


TASKS: dict[str, tuple[Callable[[], nn.Module], OwnTask]] = {
    "texts": (
        LanguageModel,
        rv.task(
            make_texts(),
            loss_of_texts,
            share_right,
            name="texts",
            title="words right",
            unit="%",
            loss_unit="nats",
        ),
    ),
    "masks": (
        make_segmenter,
        rv.task(make_masks(), lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]), name="masks"),
    ),
    "points": (
        lambda: nn.Linear(3, 1),
        rv.task(make_points(), lambda m, b: (m(b[0]).squeeze(1) - b[1]).square().mean(), name="points"),
    ),
}


def train(make: Callable[[], nn.Module], task: OwnTask, folder: Path, method: str, epochs: int = 4) -> Path:
    """A loop of one's own, with our scheduler and our record."""
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    base = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    scheduler = rv.RALR(base, seed=0) if method == "ralr" else rv.RALR(base, seed=0, probability=0.0)
    run = folder / method / "seed0"
    about = {"epochs": epochs}
    with (
        warnings.catch_warnings(),
        rv.RunWriter(run, method=method, seed=0, optimizer=optimizer, scheduler=scheduler, **about) as writer,
    ):
        for epoch in range(1, epochs + 1):
            model.train()
            for batch in task.loader:
                loss, weight = task.loss(model, batch)
                optimizer.zero_grad()
                (loss / weight).backward()
                optimizer.step()
            writer.log(epoch=epoch, train_loss=(loss / weight).item())
            scheduler.step()
    torch.save(model.state_dict(), folder / f"{method}.pt")
    return run


@pytest.fixture(scope="module", params=TASKS)
def trained(request, tmp_path_factory) -> tuple[OwnTask, dict[str, nn.Module], dict[str, Path]]:
    make, task = TASKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    networks, runs = {}, {}
    for method in ("baseline", "ralr"):
        runs[method] = train(make, task, folder, method)
        networks[method] = make()
        networks[method].load_state_dict(torch.load(folder / f"{method}.pt", weights_only=True))
    return task, networks, runs


@pytest.mark.parametrize(
    "name",
    [n if n in ("sharpness", "barrier") else pytest.param(n, marks=pytest.mark.slow) for n in OF_WEIGHTS],
)
def test_every_diagnostic_of_weights_takes_an_own_task(name: str, trained, tmp_path: Path) -> None:
    task, networks, _ = trained
    before = copy.deepcopy({key: model.state_dict() for key, model in networks.items()})
    pair = rv.compare(networks, task=task, device="cpu")
    result = NOUNS[name].load("compute")(pair, **OF_WEIGHTS[name])
    assert result.loss_name == f"loss of {task.name}" and result.samples_name == "batches"
    assert result.loss_unit == ("nats" if task.name == "texts" else "")
    told = "\n".join(result.describe())
    assert "accuracy" not in told and ("words right drop" in told) == (
        task.name == "texts" and name == "sharpness"
    )
    assert "images" not in told and ("nats" in told) == (task.name == "texts")
    rv.save_result(result, tmp_path / name)
    figure = NOUNS[name].load("draw")(rv.load_result(tmp_path / name))
    texts = " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
    assert "images" not in texts and "accuracy" not in texts
    for key, model in networks.items():
        assert all(torch.equal(before[key][k], v) for k, v in model.state_dict().items())


def test_movement_of_runs_of_an_own_loop(trained) -> None:
    _, _, runs = trained
    result = rv.compute_movement(list(runs.values()))
    assert result.models == ("baseline", "RALR")


def test_objective_of_an_own_task_is_the_weighted_mean_and_its_gradient(trained) -> None:
    task, networks, _ = trained
    pair = rv.compare(networks, task=task, device="cpu")
    objective = objective_of(pair, 1, 500)
    model = copy.deepcopy(networks["ralr"]).eval()
    sums = [task.loss(model, batch) for batch in task.loader]
    mean = sum(loss for loss, _ in sums) / sum(weight for _, weight in sums)
    loss, gradient = objective.gradient()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    mean.backward()
    for own, p in zip(gradient, model.parameters(), strict=True):
        torch.testing.assert_close(own, p.grad, rtol=1e-4, atol=1e-6)
    value, score = objective.evaluate()
    assert value == pytest.approx(loss, rel=1e-6)
    if task.score is None:
        assert np.isnan(score)
    else:
        right = [share_right(model, batch) for batch in task.loader]
        assert score == pytest.approx(float(sum(r for r, _ in right) / sum(n for _, n in right)))


@pytest.mark.parametrize(
    "name", ["calibration", "cam", "activations", "similarity", "distance", "localisation", "embedding"]
)
def test_what_needs_images_refuses_an_own_task_in_one_line(name: str) -> None:
    make, task = TASKS["points"]
    pair = rv.compare({"a": make(), "b": make()}, task=task, device="cpu")
    with pytest.raises(
        InputError, match="`points` has no images with one class each: take what needs none"
    ) as told:
        NOUNS[name].load("compute")(pair)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("loader", "loss", "message"),
    [
        ([], lambda m, b: m(b).mean(), "the loader of `own task` gives no batch"),
        ([torch.ones(2, 3)], lambda m, b: m(b), r"the loss of `own task` has the shape \(2, 1\)"),
        ([torch.ones(2, 3)], lambda m, b: 1.0, "returned a float: return a scalar tensor"),
        ([torch.ones(2, 3)], lambda m, b: m(b[:, :2]).mean(), "the loss of `own task` failed: RuntimeError"),
        ([torch.ones(2, 3)], lambda m, b: m(b).mean() * torch.nan, "is not finite on the first batch"),
        (
            [torch.ones(2, 3)],
            lambda m, b: (m(b).sum(), torch.tensor(0)),
            "the weight of the first batch .* is 0",
        ),
    ],
)
def test_an_own_task_that_cannot_be_is_one_line(loader, loss, message: str) -> None:
    model = nn.Linear(3, 1)
    with pytest.raises(InputError, match=message):
        rv.compute_sharpness(rv.compare({"a": model}, task=rv.task(loader, loss), device="cpu"))


def test_limit_is_of_batches_which_are_read_once() -> None:
    class Endless:
        def __iter__(self):
            while True:
                yield torch.randn(2, 3)

    task = rv.task(Endless(), lambda m, b: m(b).square().mean())
    pair = rv.compare({"a": nn.Linear(3, 1)}, task=task, limit=3, device="cpu")
    first, second = (list(pair.batches()) for _ in range(2))
    assert len(first) == 3 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


OWN_CODE = """
import torch
from torch import nn
import ralr_viz as rv

def make():
    return nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv1d(3, 1, 1))

def batches():
    generator = torch.Generator().manual_seed(3)
    return [(x, x.cumsum(2)) for x in torch.randn(6, 4, 1, 8, generator=generator)]

def sums():
    return rv.task(batches(), lambda model, batch: (model(batch[0]) - batch[1]).square().mean(), name="sums")

def nothing():
    return 3
"""


@pytest.fixture
def own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of a network of one's own, trained by a loop of one's own, whose code lies in the working directory."""
    (tmp_path / "own_code.py").write_text(OWN_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    own = importlib.import_module("own_code")
    for method in ("baseline", "ralr"):
        torch.manual_seed(0)
        model = own.make()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        base = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        scheduler = rv.RALR(base, seed=0, probability=0.5 if method == "ralr" else 0.0)
        about = {"method": method, "seed": 0, "epochs": 3, "arch": "own_code:make"}
        run = rv.RunWriter(f"runs/{method}/seed0", optimizer=optimizer, scheduler=scheduler, **about)
        with run as writer:
            for epoch in range(1, 4):
                for x, y in own.batches():
                    loss = (model(x) - y).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                writer.log(epoch=epoch, train_loss=loss.item())
                writer.save(model)
                scheduler.step()
    return tmp_path / "runs"


def test_why_takes_an_own_task_and_says_what_it_cannot_measure(own_runs: Path, tmp_path: Path) -> None:
    only = ["movement", "sharpness", "calibration"]
    options = rv.WhyOptions(only, task=load_task("own_code:sums"), arch="own_code:make", device="cpu")
    arms = {"SGD": own_runs / "baseline", "RALR": own_runs / "ralr"}
    said: list[str] = []
    result = rv.why(arms, tmp_path / "out", options=options, say=lambda line: said.append(str(line)))
    assert {"movement", "sharpness"} <= set(result.diagnostics), result.notes
    assert rv.load_result(tmp_path / "out" / "seed0" / "sharpness").loss_name == "loss of sums"
    told = "\n".join(result.notes)
    assert "calibration, seed 0 was not measured: `sums` has no images with one class each" in told
    assert not any("does not say its" in line for line in said)


def test_commands_take_a_task_that_they_name(own_runs: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    ckpt = ["--ckpt", str(own_runs / "baseline" / "seed0"), "--ckpt", str(own_runs / "ralr" / "seed0")]
    common = [*ckpt, "--arch", "own_code:make", "--device", "cpu"]
    command = ["ralr-viz", "sharpness", *common, "--directions", "2", "--worst-radii", "none"]
    for named, code, words in (
        ("own_code:sums", 0, "average sharpness, ρ = 0.2: baseline"),
        (
            "own_code:nothing",
            2,
            "`own_code:nothing` returned a int: return what `ralr_viz.task(loader, loss)` makes",
        ),
        ("own_code:gone", 2, "`own_code:gone` cannot be imported"),
        ("sums", 2, "`sums` names no factory: write package.module:factory"),
    ):
        monkeypatch.setattr(sys, "argv", [*command, "--task", named, "--out", str(tmp_path / named[-4:])])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == code, err
        assert words in out + err
