import numpy as np
import pytest
import torch
from PIL import Image

from ralr_viz.results.bundle import load_result

FILES = ["cam", "cam.caption.tex", "cam.caption.txt", "cam.csv", "cam.pdf", "cam.png"]


@pytest.fixture
def pictures(tmp_path):
    """Three files of different sizes, one with a blank in its name."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("a.png", "b b.jpg", "ü.webp")]
    for size, path in zip(((16, 16), (40, 30), (7, 90)), paths, strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def theirs(weights, tmp_path):
    """A bare state dict with other people's names."""
    file = tmp_path / "theirs.pt"
    torch.save({f"module.{key.replace('linear', 'fc')}": value for key, value in weights.items()}, file)
    return file


def test_pictures_of_one_name_are_told_apart_by_their_folders(cli, baseline, pictures, tmp_path):
    files = [tmp_path / folder / "1.png" for folder in ("A", "B")]
    for file, picture in zip(files, pictures, strict=False):
        file.parent.mkdir()
        Image.open(picture).save(file)
    cli("cam", "--ckpt", baseline, "--images", *files, "--out", tmp_path / "out", "-q").succeeded()
    assert load_result(tmp_path / "out" / "cam").image_names == ("A/1.png", "B/1.png")
    assert "A/1.png" in (tmp_path / "out" / "cam.csv").read_text()


def test_cam_draws_a_row_for_each_checkpoint(cli, runs, squares_root, tmp_path):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    out = tmp_path / "new" / "out"
    outcome = cli("cam", *arms, "--data", squares_root, "--count", 3, "--out", out).succeeded()
    assert outcome.lines == [
        str(out / name)
        for name in ("cam", "cam.pdf", "cam.png", "cam.csv", "cam.caption.txt", "cam.caption.tex")
    ]
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert "images: 3 of 24 squares test images, random, seed 0\n" in outcome.err
    assert "baseline: cam at `layer3`\n" in outcome.err and "RALR: cam at `layer3`\n" in outcome.err
    result = load_result(out / "cam")
    assert result.models == ("baseline", "RALR")
    assert [c["epoch"] for c in result.provenance["checkpoints"]] == [2, 2]
    assert str(tmp_path) not in str(result.provenance)
    np.testing.assert_array_equal(result.targets[0], result.labels)


def test_cam_of_two_epochs_of_one_run_names_them_apart(cli, baseline, squares_root, tmp_path):
    both = ["--ckpt", f"{baseline}@prev", "--ckpt", baseline]
    cli("cam", *both, "--data", squares_root, "--count", 2, "--out", tmp_path, "-q").succeeded()
    assert load_result(tmp_path / "cam").models == ("baseline, seed 0, epoch 1", "baseline, seed 0, epoch 2")


@pytest.mark.parametrize("order", ["after one option", "an option each", "before another option"])
def test_images_takes_several_files(cli, baseline, pictures, tmp_path, order):
    arguments = {
        "after one option": ["--ckpt", baseline, "--images", *pictures],
        "an option each": ["--ckpt", baseline, *(arg for path in pictures for arg in ("--images", path))],
        "before another option": ["--images", *pictures, "--ckpt", baseline],
    }[order]
    outcome = cli("cam", "--out", tmp_path / "out", *arguments, "-q").succeeded()
    assert outcome.err == ""
    result = load_result(tmp_path / "out" / "cam")
    assert "3 pictures given by --images, resized to 16×16" in result.selection
    assert result.images.shape == (3, 16, 16, 3)
    assert result.image_names == tuple(path.name for path in pictures)
    np.testing.assert_array_equal(result.images[0], np.asarray(Image.open(pictures[0])))
    np.testing.assert_array_equal(result.targets, result.predictions)  # no class is known, so its own


def test_strangers_weights_give_the_same_maps(cli, baseline, theirs, squares_root, tmp_path):
    where = ["--data", squares_root, "--count", 4, "-q"]
    cli("cam", "--ckpt", baseline, "--out", tmp_path / "ours", *where).succeeded()
    said = ["--arch", "resnet20", "--dataset", "squares"]
    cli("cam", "--ckpt", theirs, *said, "--out", tmp_path / "theirs", *where).succeeded()
    ours, other = (load_result(tmp_path / name / "cam") for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours.maps, other.maps)
    np.testing.assert_array_equal(ours.indices, other.indices)


def test_strangers_weights_and_own_pictures_need_size_and_scale(
    cli, theirs, squares_root, pictures, tmp_path
):
    arguments = [
        "cam",
        "--ckpt",
        theirs,
        "--arch",
        "resnet20",
        "--images",
        *pictures,
        "--out",
        tmp_path / "out",
    ]
    cli(*arguments).failed(2, "does not say the size of its images: pass --size, or --dataset")
    cli(*arguments, "--size", 16).failed(2, "does not say its normalisation: pass --mean and --std")
    scale = ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
    cli(*arguments, "--size", 16, *scale, "-q").succeeded()
    assert load_result(tmp_path / "out" / "cam").class_names == ()
    cli(*arguments, "--dataset", "squares", "--data", squares_root, "-q", "--force").succeeded()
    assert load_result(tmp_path / "out" / "cam").class_names == ("blue", "green", "red", "white")


def test_users_own_network_is_explained_by_the_general_grad_cam(cli, squares_root, tmp_path, monkeypatch):
    layers = "nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 9), nn.ReLU(), nn.Linear(9, {})"
    (tmp_path / "my_conv_net.py").write_text(
        f"from torch import nn\ndef make(num_classes):\n"
        f"    return nn.Sequential({layers.format('num_classes')})\n"
    )
    torch.manual_seed(0)
    torch.save(eval(f"nn.Sequential({layers.format(4)})", {"nn": torch.nn}).state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    said = ["--arch", "my_conv_net:make", "--dataset", "squares", "--data", squares_root]
    outcome = cli("cam", "--ckpt", "w.pt", *said, "--count", 2, "--out", "out").succeeded()
    assert "w: gradcam at `1`" in outcome.err
    assert load_result(tmp_path / "out" / "cam").models == ("w",)


def test_cam_overwrites_only_with_force(cli, baseline, squares_root, tmp_path, read_files):
    arguments = [
        "cam",
        "--ckpt",
        baseline,
        "--data",
        squares_root,
        "--count",
        2,
        "--out",
        tmp_path / "out",
        "-q",
    ]
    cli(*arguments).succeeded()
    before = read_files(tmp_path)
    cli(*arguments, "--seed", 1).failed(2, "exists: pass --force to overwrite it or another --out")
    assert read_files(tmp_path) == before
    cli(*arguments, "--force").succeeded()
    after = read_files(tmp_path)
    assert after.keys() == before.keys()
    assert after["out/cam.csv"] == before["out/cam.csv"]


def test_classes_that_differ_cannot_share_a_target(cli, theirs, pictures, tmp_path):
    from ralr_viz.models import build_model

    torch.save(build_model("resnet20", 7).state_dict(), tmp_path / "seven.pt")
    both = ["--ckpt", theirs, "--ckpt", tmp_path / "seven.pt", "--arch", "resnet20", "--size", 16]
    outcome = cli("cam", *both, "--images", *pictures, "--out", tmp_path / "out")
    outcome.failed(2, "the checkpoints have 4, 7 classes")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--style", "nature"], ["unknown style `nature`", "icml"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--precision", "fp8"], ["unknown precision `fp8`"]),
        (["--split", "valid"], ["unknown split `valid`: did you mean `val`?"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2: pass another --dataset"]),
        (["--count", "0"], ["'--count'"]),
        (["--size", "1000000"], ["'--size'"]),
        (["stray.png"], ["`stray.png` follows no option: write --ckpt stray.png or --images stray.png"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_bad_option_is_one_line(cli, baseline, squares_root, tmp_path, arguments, fragments):
    where = ["--ckpt", baseline, "--data", squares_root, "--out", tmp_path / "out"]
    cli("cam", *where, *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []


def test_cam_refuses_more_pictures_than_a_figure_holds_before_the_work(cli, tmp_path) -> None:
    done = cli("cam", *["--ckpt", tmp_path / "none"] * 15, "--count", 64, "--out", tmp_path / "out")
    done.failed(2, "64 images in 16 rows are 1,024 pictures", "`--count`")
