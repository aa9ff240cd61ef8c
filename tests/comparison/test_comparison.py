"""What a comparison holds: names, private copies, samples, where it runs."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.comparison import compare
from ralr_viz.comparison.augmentation import augment_samples
from ralr_viz.comparison.pairs import pair_networks
from ralr_viz.comparison.samples import own_samples
from ralr_viz.data.augment import augment_once
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.recipe import Recipe
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

SCALE = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="module")
def arms(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe], squares_root: Path
) -> Path:
    """``baseline/seed0`` and ``ralr/seed0``, trained for an epoch."""
    recipe, folder = make_recipe(epochs=1, milestones=()), tmp_path_factory.mktemp("arms")
    for method in ("baseline", "ralr"):
        train_run(prepare_run(recipe, method, 0, folder), squares_root, device="cpu")
    (group,) = folder.iterdir()
    return group


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


def of_modules(*models: nn.Module, **options):
    return compare(list(models), images=IMAGES, labels=LABELS, device="cpu", **(SCALE | options))


def test_comparison_builds_private_copies_in_eval_mode() -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    comparison = of_modules(model)
    first, second = comparison.build(0), comparison.build(0)
    assert first is not second and first is not model
    assert not first.training and model.training
    with torch.no_grad():
        first[1].weight.zero_()
    for untouched in (model, second, comparison.build(0)):
        assert all(torch.equal(untouched.state_dict()[name], value) for name, value in before.items())


def test_comparison_takes_some_of_the_samples_by_row() -> None:
    whole = of_modules(network(), boxes=np.arange(24).reshape(6, 4))
    part = whole.take(np.array([1, 4]))
    np.testing.assert_array_equal(part.samples.images, IMAGES[[1, 4]])
    np.testing.assert_array_equal(part.samples.labels, LABELS[[1, 4]])
    np.testing.assert_array_equal(part.samples.boxes, [[4, 5, 6, 7], [16, 17, 18, 19]])
    assert part.samples.indices.tolist() == [1, 4] and part.networks is whole.networks
    assert len(whole.samples) == 6 and part.memory is not whole.memory


def test_comparison_on_another_split_has_its_images_and_the_same_limit(
    arms: Path, squares_root: Path
) -> None:
    runs = {"a": arms / "baseline" / "seed0", "mine": network()}
    options = {"data": "squares", "root": squares_root, "limit": 10, "device": "cpu", **SCALE}
    test = compare(runs, **options)
    train = test.on("train")
    assert (test.samples.split, train.samples.split, len(train.samples)) == ("test", "train", 10)
    assert train.networks is test.networks and train.named
    np.testing.assert_array_equal(
        train.samples.indices, compare(runs, split="train", **options).samples.indices
    )
    whole = compare(runs, **(options | {"limit": None})).on("train")
    assert len(whole.samples) == 72  # without what was held out from the run
    with pytest.raises(InputError, match="images of your own have no `train` images beside them"):
        of_modules(network()).on("train")


def test_comparison_takes_the_network_inside_a_compiled_one_and_no_torchscript() -> None:
    model = network()
    compiled = of_modules(torch.compile(model)).build(0)
    assert type(compiled) is nn.Sequential
    with pytest.warns(FutureWarning):
        script = torch.jit.script(model)
    with pytest.raises(InputError, match="TorchScript"):
        of_modules(script).build(0)


def test_comparison_names_what_the_caller_names() -> None:
    assert of_modules(network(), network(1)).names == ("network 1", "network 2")
    named = compare({"SGD": network(), "$x$ 猫": network(1)}, images=IMAGES, device="cpu", **SCALE)
    assert named.names == ("SGD", "$x$ 猫") and named.named and len(named) == 2
    (pair,) = pair_networks(named)
    assert pair == ("SGD → $x$ 猫", ("SGD", "$x$ 猫"), 0, 1)
    with pytest.raises(InputError, match="every pair takes two networks, 3 make none"):
        pair_networks(of_modules(network(), network(), network()))


def test_comparison_of_modules_says_what_they_do_not() -> None:
    with pytest.raises(InputError, match="`networks` is empty"):
        compare([], images=IMAGES)
    with pytest.raises(InputError, match="does not say its data set: pass `data`"):
        compare([network()], **SCALE)
    with pytest.raises(InputError, match="`network 1` does not say its normalisation"):
        compare([network()], images=IMAGES)
    with pytest.raises(InputError, match=r"`boxes` is float64 \(6, 4\): four integers"):
        of_modules(network(), boxes=np.zeros((6, 4)))
    with pytest.raises(InputError, match="`labels` has 2 rows for 6 images"):
        own_samples(IMAGES, np.zeros(2, dtype=int))
    with pytest.raises(InputError, match="`batch` = 0"):
        of_modules(network(), batch=0)
    with pytest.raises(UnknownNameError, match="precision"):
        of_modules(network(), precision="fp23")


def test_own_samples_have_no_labels_where_none_are_given() -> None:
    samples = own_samples(IMAGES)
    assert len(samples) == 6 and samples.labels.tolist() == [-1] * 6
    assert samples.indices.tolist() == list(range(6)) and samples.dataset is None


def test_comparison_opens_runs_on_the_images_of_their_data(arms: Path, squares_root: Path) -> None:
    pair = compare([arms / "baseline" / "seed0", arms / "ralr" / "seed0"], root=squares_root, limit=5)
    assert pair.names == ("baseline", "RALR") and not pair.named
    assert (pair.samples.dataset, pair.samples.split, len(pair.samples)) == ("squares", "test", 5)
    assert pair.samples.indices.tolist() == [24 * i // 5 for i in range(5)]
    assert pair.samples.selection == "5 squares test images, evenly spread"
    assert pair.common_scale() == (pair.networks[0].mean, pair.networks[0].std)
    facts = pair.facts()
    assert [c["name"] for c in facts["checkpoints"]] == ["baseline", "RALR"]
    assert (
        all(len(c["sha256"]) == 64 for c in facts["checkpoints"]) and facts["recipe"]["dataset"] == "squares"
    )
    theirs = load_checkpoint(arms / "ralr" / "seed0")
    same = compare([arms / "baseline" / "seed0"] * 4, root=squares_root, limit=5)
    assert len({network.identity for network in same.networks}) == 1
    assert [p.name for p in pair_networks(same, null_pairs=1)] == ["baseline", "null: baseline"]
    mixed = compare({"theirs": theirs, "mine": pair.build(0)}, root=squares_root, **SCALE)
    assert mixed.names == ("theirs", "mine")
    with pytest.raises(InputError, match="another mean or std than"):
        mixed.common_scale()
    with pytest.raises(UnknownNameError, match="split"):
        compare([arms / "ralr" / "seed0"], root=squares_root, split="trian")


def trained_with(**recipe):
    return SimpleNamespace(shown="runs/x", recipe={"crop_padding": 2, "flip": True, **recipe})


def test_augment_samples_crops_and_mirrors_but_never_mixes_and_says_so() -> None:
    plain = augment_samples(own_samples(IMAGES), [trained_with(mixup=0.0)], 1)
    assert plain.augmentation == "cropped after padding by 2 and mirrored at random as in training, once"
    mixed = augment_samples(own_samples(IMAGES), [trained_with(), trained_with(mixup=1.0, cutout=8)], 1)
    assert mixed.augmentation.endswith("as in training, once (without its cutout, mixup)")
    assert np.array_equal(plain.images, mixed.images)
    assert np.array_equal(plain.images, augment_once(IMAGES, padding=2, flip=True, seed=1))
    bare = SimpleNamespace(shown="runs/y", recipe={})
    assert augment_samples(own_samples(IMAGES), [bare], 1).augmentation == ""
    with pytest.raises(InputError, match="`runs/y` was trained with another augmentation than `runs/x`"):
        augment_samples(own_samples(IMAGES), [trained_with(), bare], 1)


def test_notebook_compares_without_the_command_line(arms: Path, squares_root: Path) -> None:
    code = (
        "import sys, ralr_viz as rv; "
        f"pair = rv.compare({{'a': {str(arms / 'baseline' / 'seed0')!r}, 'b': {str(arms / 'ralr' / 'seed0')!r}}}, "
        f"root={str(squares_root)!r}, split='train', limit=8); "
        "result = rv.compute_sharpness(pair.augmented(), directions=2, worst_radii=()); "
        "rv.draw_sharpness(result); "
        "assert result.models == ('a', 'b') and not any(m.startswith('ralr_viz.cli') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("side", "most", "expected"),
    [(32, 500, 500), (64, 256, 256), (224, 500, 40), (224, 30, 30), (448, 500, 10)],
)
def test_batch_size_is_of_fewer_large_images(side: int, most: int, expected: int) -> None:
    images = np.zeros((2, side, side, 3), dtype=np.uint8)
    assert compare([nn.Identity()], images=images, **SCALE).batch_size(most) == expected
    assert compare([nn.Identity()], images=images, batch=77, **SCALE).batch_size(most) == 77


def test_batch_size_of_batch_statistics_is_no_smaller_than_in_training(arms: Path) -> None:
    large = np.zeros((2, 2000, 2000, 3), dtype=np.uint8)
    compared = compare([arms / "baseline" / "seed0"], images=large, device="cpu")
    trained = compared.networks[0].recipe_batch
    assert (compared.batch_size(), compared.batch_size(as_trained=True)) == (1, trained)
    assert compared.batch_size(2, as_trained=True) == 2


def test_masks_are_taken_with_their_images_and_must_fit_them():
    masks = np.zeros((6, 8, 8), bool)
    masks[3, 2:5] = True
    whole = of_modules(network(), masks=masks)
    np.testing.assert_array_equal(whole.take(np.array([3, 0])).samples.masks, masks[[3, 0]])
    for wrong in (masks[:, :4], masks.astype(int)):
        with pytest.raises(InputError, match="`masks` is .* a bool for each pixel of the images"):
            of_modules(network(), masks=wrong)
    with pytest.raises(InputError, match="`masks` has 5 rows for 6 images"):
        of_modules(network(), masks=masks[:5])
