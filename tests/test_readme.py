"""The README's Python runs, and its commands and files exist."""

import builtins
import itertools
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image

import ralr_viz
from ralr_viz import load_checkpoint
from ralr_viz.cli.app import app, main
from ralr_viz.data import import_dataset, load_dataset
from ralr_viz.data.known import KNOWN
from ralr_viz.models import build_model
from ralr_viz.nouns import NOUNS
from ralr_viz.recipe import load_recipe, recipe_names
from ralr_viz.results.bundle import load_result
from ralr_viz.results.run import load_run
from ralr_viz.study.grid_file import load_study

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
OTHERS = [*ROOT.glob("figures/**/README.md"), ROOT / "checkpoints" / "README.md"]
"""Whose commands exist, too."""
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_readme_python_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RALR_VIZ_DATA", str(write_cifar10(tmp_path)))
    torch.save(build_model("resnet56", 10).state_dict(), "resnet56.th")
    seen = {
        "torch": torch,
        "model": build_model("resnet20", 10),
        "images": torch.randn(2, 3, 32, 32),
        "before": build_model("resnet20", 4),
        "after": build_model("resnet20", 4),
        "pictures": np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "labels": np.arange(40) % 4,
        "batches": [{"words": torch.arange(18).reshape(2, 9) % 5}],
        "language_model": torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5)),
        "train_one_epoch": lambda model, optimizer: optimizer.step(),
        "train_and_validate": lambda model: (1.0, 0.9, 60.0),
        "range": lambda *limits: builtins.range(*limits)[:3],  # three of the 300 epochs
    }
    assert len(BLOCKS) == 5
    # a notebook has what the commands have, without the command line
    for name in [name for name in sys.modules if name.startswith("ralr_viz.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ralr_viz.cli", None)
    for block in BLOCKS:
        if "RunWriter" in block:
            seen["scheduler"].optimizer.step()
        exec(compile(block, "README.md", "exec"), seen)
    assert load_result(tmp_path / "out/activations").kind == "activations"
    titles = [panel.get_title(loc="left") for panel in seen["figure"].axes]
    assert titles[:2] == ["(a) before", "(b) after"]  # a panel for each network
    assert load_run(tmp_path / "runs/mine/ralr/seed0").values("val_acc").tolist() == [60, 60, 60]
    assert "ralr, seed 0, epoch 20" in capsys.readouterr().out


def write_cifar10(folder):
    """Data root with a ``cifar10`` of six training and four test images a class."""
    rng = np.random.default_rng(0)
    for name in KNOWN["cifar10"].class_ids:
        for split, count in (("train", 6), ("test", 4)):
            (folder / "tree" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "tree" / split / name / f"{i}.png")
    import_dataset("cifar10", folder / "tree", folder / "data", workers=1)
    return folder / "data"


EPOCHS = 36  # of the 300: effect needs draws, movement a last third


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The run of the README's `RunWriter` example as printed, but for its length, and the data root."""
    folder = tmp_path_factory.mktemp("own-loop")
    torch.manual_seed(0)
    model = build_model("resnet20", 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)

    def train_and_validate(model):
        for _ in range(2):  # steps of an epoch
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        return loss.item(), loss.item() + 0.1, 50.0

    base = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[EPOCHS // 2])
    seen = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": ralr_viz.RALR(base, seed=0),
        "train_and_validate": train_and_validate,
    }
    (block,) = (block for block in BLOCKS if "RunWriter" in block)
    shorter = block.replace("300", str(EPOCHS)).replace("301", str(EPOCHS + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RALR_VIZ_DATA", str(write_cifar10(folder)))
        exec(compile(shorter, "README.md", "exec"), seen)
    return folder / "runs" / "mine" / "ralr" / "seed0", folder / "data"


_STATES = ("--ckpt", f"{{run}}@{EPOCHS * 2 // 3}", "--ckpt", "{run}")
_FEW = ("--limit", "8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("curves", "--run", "{run}"),
        pytest.param(("movement", "--run", "{run}"), marks=pytest.mark.slow),
        ("effect", "--run", "{run}", "--horizon", "1", "--resamples", "99"),
        ("eval", "--ckpt", "{run}@best"),
        ("export", "--ckpt", "{run}"),
        ("cam", "--ckpt", "{run}"),
        pytest.param(("activations", *_STATES, *_FEW), marks=pytest.mark.slow),
        pytest.param(("barrier", *_STATES, *_FEW, "--points", "3"), marks=pytest.mark.slow),
        pytest.param(("similarity", *_STATES, *_FEW), marks=pytest.mark.slow),
        pytest.param(("distance", *_STATES, *_FEW), marks=pytest.mark.slow),
        pytest.param(("embed", "--ckpt", "{run}"), marks=pytest.mark.slow),
        pytest.param(("collapse", "--ckpt", "{run}"), marks=pytest.mark.slow),
        ("calibration", "--ckpt", "{run}", "--ckpt", "{run}@prev"),
        pytest.param(
            ("sharpness", "--ckpt", "{run}", *_FEW, "--radii", "0.2", "--directions", "2"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("spectrum", "--ckpt", "{run}", *_FEW), marks=pytest.mark.slow),
        pytest.param(
            ("noise-scale", "--ckpt", "{run}", *_FEW, "--small", "1", "--big", "4"), marks=pytest.mark.slow
        ),
        pytest.param(("landscape", "--ckpt", "{run}", *_FEW, "--points", "3"), marks=pytest.mark.slow),
        ("report", "--a", "{run}", "--samples", "20"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_readme_run_writer_makes_a_run_that_every_command_reads(
    written, tmp_path, monkeypatch, capsys, arguments
):
    run, data = written
    words = [word.format(run=run) for word in arguments]
    if words[0] != "eval":
        suffix = {"export": "out.safetensors", "report": "out.html"}.get(words[0], "out")
        words += ["--out", str(tmp_path / suffix)]
    monkeypatch.setenv("RALR_VIZ_DATA", str(data))
    monkeypatch.setattr("sys.argv", ["ralr-viz", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    if words[0] == "movement":
        assert "late path / Σ LR" in out and "not kept" not in err and "predictions changed" in out
    if words[0] == "cam":
        assert (tmp_path / "out" / "cam.png").is_file()


def test_readme_run_writer_records_what_was_trained(written):
    """The factor of each epoch is RALR's, the path agrees with the states, and the recipe has the law."""
    run, data = written
    record = load_run(run)
    np.testing.assert_array_equal(record.values("factor"), ralr_viz.amplification_factors(0, EPOCHS))
    base = np.where(record.epoch <= EPOCHS // 2, 0.1, 0.01)
    np.testing.assert_allclose(record.values("base_lr"), base, rtol=1e-12)
    np.testing.assert_array_equal(record.values("lr"), record.values("base_lr") * record.values("factor"))
    states = [
        torch.cat([p.detach().double().flatten() for p in load_checkpoint(f"{run}{at}").build().parameters()])
        for at in ("@prev", "")
    ]
    moved = float((states[1] - states[0]).norm())
    assert record.values("step_length")[-1] == pytest.approx(moved, rel=1e-4)
    assert record.values("weight_norm")[-1] == pytest.approx(float(states[1].norm()), rel=1e-5)
    assert (record.method, record.recipe["interval"], record.recipe["epochs"]) == ("ralr", 1, EPOCHS)
    store, saved = load_dataset("cifar10", data), load_checkpoint(run)
    assert (saved.content_hash, saved.mean, saved.std) == (store.content_hash, store.mean, store.std)


@pytest.mark.parametrize(
    "line",
    sorted(
        {
            line
            for text in (README, *(path.read_text(encoding="utf-8").replace("\\\n", " ") for path in OTHERS))
            for line in re.findall(r"ralr-viz ([a-z].*?)(?:  +#.*|`.*|&&.*)?$", text, re.MULTILINE)
        }
    ),
)
def test_readme_commands_and_options_exist(line):
    words = shlex.split(line.replace("…", ""), comments=True)
    command = COMMANDS.get(words[0])
    if command is None:
        pytest.skip(f"prose: ralr-viz {words[0]}")
    if words[0] in ("data", "study"):
        command = command.commands[words[1]]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {w for w in words if w.startswith("--")} <= known
    if words[0] == "over-time":
        own = {option.name for option in NOUNS[words[1].replace("-", "_")].spec.options}
        assert {
            word.partition("=")[0] for before, word in itertools.pairwise(words) if before == "--option"
        } <= own
    for name in re.findall(r"(?:cifar100?|tiny-imagenet(?:-50)?|digits)-[a-z0-9-]*[a-z0-9](?=\s|$)", line):
        if words[0] in ("pair", "train", "schedule"):
            assert name in recipe_names()


def test_public_names_exist_and_are_those_of_their_modules():
    for name in set(ralr_viz.__all__) - {"__version__"}:
        assert getattr(ralr_viz, name).__name__ == name
    assert set(ralr_viz._HOME) == set(ralr_viz.__all__) - {"__version__"}


def test_readme_links_to_files_that_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_readme_study_is_one(tmp_path):
    """Its runs are those of the `pair` above it."""
    (block,) = (text for text in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[[axes]]" in text)
    (tmp_path / "birds.toml").write_text(block, encoding="utf-8")
    study = load_study(tmp_path / "birds.toml")
    (line,) = re.findall(r"^ralr-viz pair (cub10-lite0-short --set .*?)(?:  +#.*)?$", README, re.MULTILINE)
    name, *words = shlex.split(line)
    recipe = load_recipe(name, [b for a, b in itertools.pairwise(words) if a == "--set"])
    assert {cell.recipe for cell in study.cells} == {recipe}
    assert [cell.method for cell in study.cells] == ["baseline", "ralr", "scaled"]
