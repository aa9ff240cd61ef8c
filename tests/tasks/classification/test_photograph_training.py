"""Training on photographs of unequal shape, and from the weights of another training."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ralr_viz as rv
from ralr_viz.data import fixed_view, import_dataset, load_dataset
from ralr_viz.errors import CheckpointError, InputError, InterruptedRunError
from ralr_viz.models import build_model
from ralr_viz.models.classifier import find_classifier_layer
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import ALONE
from ralr_viz.tasks.classification.task import ImageClassification
from ralr_viz.train import training as training_module
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.training import Training

CPU = Runtime(torch.device("cpu"), "fp32")
SETTINGS = {
    "dataset": "pets",
    "epochs": 3,
    "batch": 4,
    "milestones": (2,),
    "crop_padding": 0,
    "input_size": 16,
    "validation": 0.25,
    "keep_every": 1,
    "name": "pets",
    "examples": "train,val",
}


@pytest.fixture(scope="module")
def pets_root(tmp_path_factory):
    """A data root with ``pets``: 32 + 6 photographs of two colours, no two of one shape."""
    folder, rng = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 3)):
        for name, colour in (("cat", (220, 40, 40)), ("dog", (40, 40, 220))):
            for i in range(count):
                path = folder / "tree" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 120, (*rng.integers(20, 50, 2), 3)) + np.array(colour) // 2
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    import_dataset("pets", folder / "tree", folder / "root", workers=1)
    return folder / "root"


@pytest.fixture
def weights(tmp_path):
    """A file of weights: a ResNet-20 of five classes."""
    torch.manual_seed(9)
    torch.save(build_model("resnet20", 5).state_dict(), tmp_path / "start.pt")
    return tmp_path / "start.pt"


def prepare(make_recipe, folder: Path, method: str = "ralr", **changes) -> Path:
    return prepare_run(make_recipe(**(SETTINGS | changes)), method, 0, folder)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints" / "last.pt")["model"]


def test_run_on_photographs_learns_and_is_looked_at(make_recipe, pets_root, tmp_path):
    run = prepare(make_recipe, tmp_path, epochs=12, milestones=(10,), lr=0.02)
    result = train_run(run, pets_root, device="cpu")
    assert result["last"]["test_acc"] == 100  # the colour tells
    pair = rv.compare([run, f"{run}@3"], root=pets_root, split="train", device="cpu")
    assert pair.labelled().images.shape == (24, 16, 16, 3)
    augmented = pair.augmented()
    assert (
        augmented.samples.augmentation
        == "cut at random to 0.08 to 1 of the area and mirrored as in training, once"
    )
    assert not np.array_equal(augmented.samples.images, pair.samples.images)
    assert np.array_equal(augmented.samples.images, pair.augmented().samples.images)
    assert rv.compute_barrier(augmented, points=3).losses.shape[-1] == 24
    fork = rv.compute_fork(
        rv.open_state(f"{run}@3", root=pets_root, device="cpu"),
        factors=(1, 2),
        epochs=1,
        repeats=1,
        probe_images=8,
    )
    assert fork.reproduction == "reproduced", fork.reproduction_note


@pytest.mark.slow
def test_run_stopped_within_an_epoch_goes_on_to_the_bit(make_recipe, pets_root, tmp_path, monkeypatch):
    whole, stopped = (prepare(make_recipe, tmp_path / name) for name in ("whole", "stopped"))
    train_run(whole, pets_root, device="cpu")
    real, steps = training_module.train_step, []

    def interrupted(*arguments, **named):
        parts = real(*arguments, **named)
        steps.append(1)
        if len(steps) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(training_module, "train_step", interrupted)
        with pytest.raises(InterruptedRunError):
            train_run(stopped, pets_root, device="cpu")
    train_run(stopped, pets_root, device="cpu")
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(stopped)[name]), name
    for name in ("train.bin", "val.bin"):
        assert (stopped / "examples" / name).read_bytes() == (whole / "examples" / name).read_bytes()


def test_feed_gives_the_same_batches_whatever_was_asked_before(make_recipe, pets_root):
    task = ImageClassification(make_recipe(**SETTINGS), pets_root)
    feed = task.feed(CPU, ALONE)
    plan = feed.plan(0, 1)
    in_order = [feed.load(plan, step, ALONE)[0] for step in range(plan.steps)]
    assert sum(len(y) for _, y, _ in in_order) == plan.shown(plan.steps) == 24
    for step in (2, 0, 1, 2):
        x, y, target = feed.load(plan, step, ALONE)[0]
        assert torch.equal(x, in_order[step][0]) and torch.equal(y, in_order[step][1]) and target is None


def test_evaluation_is_of_the_fixed_view_normalised_as_in_training(make_recipe, pets_root):
    task = ImageClassification(make_recipe(**SETTINGS, view="warp"), pets_root)
    training = Training(task, "baseline", 0, CPU)
    part = fixed_view(load_dataset("pets", pets_root), "test", 16, None, "warp")
    mean, std = (np.array(task.facts[name], np.float32) for name in ("mean", "std"))
    x = torch.from_numpy(((part.images / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    model = training.model.eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(x), torch.from_numpy(np.array(part.labels)))
    assert training.evaluate()["test_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_network_starts_from_the_weights_but_for_its_classifier(make_recipe, pets_root, weights):
    recipe = make_recipe(**SETTINGS, weights=str(weights), head_lr=10.0, head_init="kaiming")
    task = ImageClassification(recipe, pets_root)
    torch.manual_seed(0)
    model, start = task.build(), torch.load(weights, weights_only=True)
    head = find_classifier_layer(model, "resnet20")
    for name, value in model.state_dict().items():
        assert name.startswith(head) or torch.equal(value, start[name]), name
    assert model.get_submodule(head).weight.shape[0] == 2
    assert task.facts["mean"] == [0.485, 0.456, 0.406]  # of ImageNet, not of the pets
    groups = task.parameter_groups(model)
    assert [group.get("lr") for group in groups] == [None, pytest.approx(0.5)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    torch.manual_seed(0)
    again = task.build().state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_weights_lie_with_the_data_too_and_are_named_where_missing(make_recipe, pets_root, weights):
    recipe = make_recipe(**SETTINGS, weights="start.pt")
    with pytest.raises(CheckpointError, match="`weights` = `start.pt` is neither here nor in"):
        ImageClassification(recipe, pets_root)
    (pets_root / "weights").mkdir(exist_ok=True)
    target = pets_root / "weights" / "start.pt"
    target.write_bytes(weights.read_bytes())
    try:
        assert ImageClassification(recipe, pets_root).start.weights.path == target
    finally:
        target.unlink()


def test_resume_with_other_weights_is_refused(make_recipe, pets_root, weights, tmp_path):
    run = prepare(make_recipe, tmp_path, weights=str(weights), epochs=1, milestones=())
    train_run(run, pets_root, device="cpu")
    (run / "result.json").unlink()
    torch.manual_seed(10)
    torch.save(build_model("resnet20", 5).state_dict(), weights)
    with pytest.raises(InputError, match="has `weights_sha256` = "):
        train_run(run, pets_root, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 0}, "`pets` has photographs of unequal shape: set `input_size`"),
        ({"crop_padding": 4}, "`crop_padding` = 4 is not done to photographs"),
        ({"mixup": 0.2}, "`mixup` = 0.2 is not done to photographs"),
    ],
)
def test_recipe_that_does_not_fit_photographs_is_refused(make_recipe, pets_root, changes, message):
    with pytest.raises(InputError, match=message):
        ImageClassification(make_recipe(**(SETTINGS | changes)), pets_root)


def test_recipe_that_does_not_fit_squares_is_refused(make_recipe, squares_root):
    with pytest.raises(InputError, match="`input_size` = 24: `squares` has squares of 16 pixels"):
        ImageClassification(make_recipe(input_size=24), squares_root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_scale": (0.5, 0.1)}, "`crop_scale` = .* must be two rising shares"),
        ({"view": "warp", "resize": 20}, "`resize` = 20 must be 0 with view=warp"),
        ({"resize": 12}, "`resize` = 12 must be at least `input_size` = 16"),
        ({"head_lr": 0.0}, "`head_lr` = 0.0 must be a positive"),
        ({"head_init": "zero"}, "`head_init` = 'zero' must be one of default, kaiming"),
    ],
)
def test_settings_of_photographs_are_checked(make_recipe, changes, message):
    with pytest.raises(InputError, match=message):
        make_recipe(**(SETTINGS | changes))
