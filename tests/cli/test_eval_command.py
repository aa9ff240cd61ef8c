import json

import pytest
import torch

from ralr_viz.models import build_model
from ralr_viz.train.checkpoint import load_checkpoint

KEYS = ["loss", "top1", "top5", "n", "images_per_second", "device", "precision"]


@pytest.fixture
def evaluate(cli, squares_root):
    """``evaluate("--ckpt", path)``: the numbers, in eval's own fp32 so that they may be compared."""

    def run(*arguments):
        where = ["--data", squares_root, "--device", "cpu", "--json"]
        return json.loads(cli("eval", *arguments, *where).succeeded().out)

    return run


def without_speed(numbers):
    return {name: value for name, value in numbers.items() if name != "images_per_second"}


def test_json_has_the_documented_keys_and_the_trainings_numbers(evaluate, baseline):
    numbers = evaluate("--ckpt", baseline)
    assert list(numbers) == KEYS
    assert numbers["n"] == 24
    assert (numbers["device"], numbers["precision"]) == ("cpu", "fp32")  # also where bf16 would be faster
    last = json.loads((baseline / "result.json").read_text())["last"]
    assert numbers["top1"] == last["test_acc"]
    assert numbers["loss"] == pytest.approx(last["test_loss"], rel=1e-5)
    assert numbers["images_per_second"] > 0


def test_line_names_checkpoint_split_and_data(cli, baseline, squares_root):
    outcome = cli("eval", "--ckpt", f"{baseline}@best", "--data", squares_root, "--split", "val")
    assert outcome.succeeded().err == ""
    assert outcome.out.startswith("baseline, seed 0, epoch ")
    assert " on 24 val images of squares (" in outcome.out


def test_splits_are_those_of_the_training(evaluate, baseline):
    counts = {
        split: evaluate("--ckpt", baseline, "--split", split)["n"] for split in ("test", "train", "val")
    }
    assert counts == {"test": 24, "train": 72, "val": 24}
    last = json.loads((baseline / "result.json").read_text())["last"]
    assert evaluate("--ckpt", baseline, "--split", "val")["top1"] == last["val_acc"]


def test_limit_takes_fewer_images(evaluate, baseline):
    assert evaluate("--ckpt", baseline, "--limit", 5)["n"] == 5
    assert evaluate("--ckpt", baseline, "--limit", 5000)["n"] == 24


def test_batch_does_not_change_the_numbers(evaluate, baseline):
    one, all_ = evaluate("--ckpt", baseline, "--batch", 7), evaluate("--ckpt", baseline)
    assert one["loss"] == pytest.approx(all_["loss"], rel=1e-5)


def test_other_peoples_weights_give_the_same_numbers(
    evaluate, cli, baseline, weights, squares_root, tmp_path
):
    ours, file = evaluate("--ckpt", baseline), tmp_path / "theirs.th"
    renamed = {f"module.{key.replace('linear', 'fc')}": value for key, value in weights.items()}
    torch.save({"state_dict": renamed, "epoch": 200, "best_prec1": 91.7}, file)
    arguments = ["--ckpt", file, "--arch", "resnet20", "--dataset", "squares"]
    assert without_speed(evaluate(*arguments)) == without_speed(ours)
    assert without_speed(evaluate(*arguments, "--num-classes", 4)) == without_speed(ours)
    outcome = cli("eval", *arguments, "--data", squares_root)
    assert "normalising with the mean and std of `squares`: pass --mean and --std" in outcome.err
    known = load_checkpoint(baseline)
    scale = [x for name in ("mean", "std") for x in (f"--{name}", ",".join(map(str, getattr(known, name))))]
    assert without_speed(evaluate(*arguments, *scale)) == without_speed(ours)
    assert cli("eval", *arguments, *scale, "--data", squares_root).succeeded().err == ""


def test_users_own_network_is_found_from_the_current_folder(
    evaluate, baseline, weights, tmp_path, monkeypatch
):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "nets.py").write_text(
        "from ralr_viz.models import build_model\n"
        "def make(num_classes):\n    return build_model('resnet20', num_classes)\n"
    )
    torch.save(weights, tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    numbers = evaluate("--ckpt", "weights.pt", "--arch", "my_package.nets:make", "--dataset", "squares")
    assert without_speed(numbers) == without_speed(evaluate("--ckpt", baseline))


def test_header_of_a_file_may_not_make_us_import_code(cli, weights, squares_root, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('imported', 'w')\ndef factory(num_classes): ...\n")
    monkeypatch.chdir(tmp_path)
    header = {"format": 1, "arch": "evil:factory", "num_classes": 4, "dataset": "squares"}
    torch.save({"header": header, "model": weights}, "w.pt")
    where = ["--data", squares_root, "--mean", ".5,.5,.5", "--std", ".2,.2,.2"]
    cli("eval", "--ckpt", "w.pt", *where).failed(2, "`evil:factory` names code to import", "--arch")
    assert not (tmp_path / "imported").exists()
    cli("eval", "--ckpt", "w.pt", "--arch", "resnet20", *where).succeeded()
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--split", "nonsense"], ["unknown split `nonsense`", "test, train, val"]),
        (["--mean", "1,2"], ["`--mean 1,2` must be three numbers such as"]),
        (["--mean", "125,122,114"], ["`mean`", "in [0, 1]", "divide pixel values by 255"]),
        (["--mean", "nan,0,0"], ["`mean`", "in [0, 1]"]),
        (["--std", "0,0,0"], ["`std`", "in (0, 1]"]),
        (["--std", "inf,1,1"], ["`std`", "in (0, 1]"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--precision", "fp8"], ["unknown precision `fp8`", "fp32"]),
        (["--arch", "resnet32"], ["does not fit `resnet32`", "`--arch resnet20`"]),
        (["--arch", "no_such_module:make"], ["`no_such_module:make` cannot be imported"]),
        (["--data", "nowhere", "--dataset", "cifar10"], ["ralr-viz data download cifar10"]),
    ],
)
def test_bad_option_is_one_line(cli, baseline, squares_root, arguments, fragments):
    cli("eval", "--ckpt", baseline, "--data", squares_root, *arguments).failed(2, *fragments)


def test_checkpoint_that_is_not_kept_is_one_line_with_those_that_are(cli, baseline, squares_root):
    cli("eval", "--ckpt", f"{baseline}@999", "--data", squares_root).failed(2, "`999`", "@best, @last, @prev")


def test_weights_that_diverged_are_one_line(cli, weights, squares_root, tmp_path):
    torch.save(
        {k: v * float("nan") if v.is_floating_point() else v for k, v in weights.items()}, tmp_path / "w"
    )
    where = ["--arch", "resnet20", "--dataset", "squares", "--data", squares_root]
    scale = ["--mean", ".5,.5,.5", "--std", ".2,.2,.2"]
    outcome = cli("eval", "--ckpt", tmp_path / "w", "--json", *where, *scale)
    outcome.failed(2, "outputs are not finite: the checkpoint has diverged")


def test_split_of_other_data_than_were_trained_on_is_not_guessed(cli, baseline, squares_root, tmp_path):
    content = torch.load(baseline / "checkpoints" / "last.pt", weights_only=True)
    content["header"]["content_hash"] = "0" * 64
    torch.save(content, tmp_path / "w.pt")
    where = ["--ckpt", tmp_path / "w.pt", "--data", squares_root]
    for split in ("val", "train"):
        cli("eval", *where, "--split", split).failed(2, "was trained on other images", "use --split test")
    cli("eval", *where).succeeded()


def test_split_of_a_file_without_a_recipe_is_not_guessed(cli, weights, squares_root, tmp_path):
    torch.save(weights, tmp_path / "w.pt")
    where = [
        "--ckpt",
        tmp_path / "w.pt",
        "--arch",
        "resnet20",
        "--dataset",
        "squares",
        "--data",
        squares_root,
    ]
    outcome = cli("eval", *where, "--split", "val", "--mean", ".5,.5,.5", "--std", ".2,.2,.2")
    outcome.failed(2, "held no images out: use --split test or train")


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "resnet20\nTraceback", "mean": [float("nan")] * 3},
        {"arch": "no\x1b[31m\nsuch"},
        {"class_names": ["one"]},
        {"class_names": 5},
        {"num_classes": 10**15},
        {"num_classes": 1e400},
        {"image_size": -1},
        {"recipe": [1, 2]},
        {"recipe": {"validation": "some"}},
        {"recipe": {"validation": float("inf")}},
        {"dataset": "../../etc"},
        {"dataset": "two\nlines"},
        {"epoch": "last"},
        {"format": 99},
    ],
    ids=lambda change: "-".join(change),
)
def test_damaged_or_hostile_header_is_one_line(cli, baseline, squares_root, tmp_path, change):
    content = torch.load(baseline / "checkpoints" / "last.pt", weights_only=True)
    content["header"] |= change
    torch.save(content, tmp_path / "w.pt")
    cli("eval", "--ckpt", tmp_path / "w.pt", "--split", "val", "--data", squares_root).failed(2)


def test_names_in_a_header_are_printed_on_one_line(cli, baseline, squares_root, tmp_path):
    content = torch.load(baseline / "checkpoints" / "last.pt", weights_only=True)
    content["header"]["method"] = "a\nb\x1b[31m" + "c" * 10_000
    torch.save(content, tmp_path / "w.pt")
    out = cli("eval", "--ckpt", tmp_path / "w.pt", "--data", squares_root).succeeded().out
    assert out.count("\n") == 1 and out.startswith(r"a\nb\x1b[31mccc") and len(out) < 500


def test_wider_classifier_names_the_option(cli, squares_root, tmp_path):
    torch.save(build_model("resnet20", 10).state_dict(), tmp_path / "w.pt")
    where = [
        "--ckpt",
        tmp_path / "w.pt",
        "--arch",
        "resnet20",
        "--dataset",
        "squares",
        "--data",
        squares_root,
    ]
    scale = ["--mean", ".5,.5,.5", "--std", ".2,.2,.2"]
    cli("eval", *where, *scale, "--num-classes", 4).failed(
        2, "has 10 classes, the model 4", "`--num-classes 10`"
    )


FACTORY = """
from torch import nn

class Two(nn.Module):
    def __init__(self, classes, order):
        super().__init__()
        self.order, self.conv, self.linear = order, nn.Conv2d(3, 7, 3), nn.Linear(7, classes)

    def forward(self, x):
        features = self.conv(x).mean((2, 3))
        return self.order(features, self.linear(features))

def pair(num_classes):
    return Two(num_classes, lambda features, logits: (features, logits))

def alone(num_classes):
    return Two(num_classes, lambda features, logits: logits)

def headless(num_classes):
    return Two(num_classes, lambda features, logits: features)
"""


def test_a_network_of_features_and_logits_is_measured_by_its_logits(
    evaluate, cli, squares_root, tmp_path, monkeypatch
):
    (tmp_path / "two_outputs.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import two_outputs

    torch.save(two_outputs.alone(num_classes=4).state_dict(), "two.pt")
    given = ["--ckpt", "two.pt", "--dataset", "squares", "--arch"]
    alone, both = (evaluate(*given, f"two_outputs:{name}") for name in ("alone", "pair"))
    assert without_speed(both) == without_speed(alone)
    for command in (
        ["eval"],
        ["calibration", "--out", "out"],
        ["sharpness", "--out", "out"],
        ["cam", "--out", "out"],
    ):
        outcome = cli(*command, *given, "two_outputs:headless", "--data", squares_root)
        assert outcome.code == 2 and "Traceback" not in outcome.err
        assert outcome.err.splitlines()[-1].startswith("ralr-viz: the network returns an output 7 wide")
