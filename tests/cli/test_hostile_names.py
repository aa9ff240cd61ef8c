"""Names that others wrote, shown by every kind of command: no escape code, no mark of direction, no line of their own."""

import ast
import dataclasses
import io
import json
import re
import sys
import tarfile
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from rich.console import Console

import ralr_viz.cli
from ralr_viz import compute_curves, save_result
from ralr_viz.cli.progress import show_progress
from ralr_viz.cli.study_view import render_plan
from ralr_viz.cli.training_progress import show_training
from ralr_viz.results.log_csv import load_log_csv
from ralr_viz.study.grid_file import load_study
from ralr_viz.study.plan import compute_plan, prepare_plan

# What each part does where it is obeyed: colours the terminal, forges a line, goes back to the line's begin, turns what
# follows around, is one byte of a CSI, is no UTF-8, is markup of rich.
PARTS = [
    "\x1b[31m",
    "\nralr-viz: done",
    "\rralr-viz: done",
    "\u202e\u2066\u200f\u061c",
    "\x9b31m\x7f",
    "[red]x[/red]",
]
TEXT = "zq" + "".join(PARTS) + "\u200b\u2028"
FILE = TEXT.replace("/", "") + "\udcff"  # in the name of a file, or of a tar's member
LABEL = "zq\u202e\u2066[red]x[/red]\u200b"  # breaks no line: taken where a name must be one line


def check_lines(outcome, *, shown="zq"):
    """What was printed holds ``shown``, and nothing that a terminal obeys or that begins a line of its own."""
    assert "Traceback" not in outcome.err
    for text in (outcome.out, outcome.err):
        bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")} - {
            "\n"
        }
        assert not bad, ascii(text)
        assert not [line for line in text.split("\n") if line.startswith("ralr-viz: done")], text
    assert shown in outcome.out + outcome.err, outcome
    assert outcome.code in (0, 1, 2)


def image(mode="RGB", size=32):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, len(mode)), dtype=np.uint8)
    Image.fromarray(noise, mode if mode != "RGB" else None).save(file, "PNG")
    return file.getvalue()


def tree(names):
    """Two classes, and what is given beside them."""
    plain = {
        f"{split}/{c}/{i}.png": image() for split in ("train", "test") for c in ("a", "b") for i in range(2)
    }
    return plain | names


def write_tar(path, files, link=None):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return path


def write_zip(path, files, link=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, "/etc/passwd")
    return path


MEMBERS = {
    "absolute": ({"/{}.png": b"x"}, "ralr-viz: archive `x.bin` is refused: member `/zq\\x1b[31m\\n"),
    "leads out": (
        {"train/../../{}.png": b"x"},
        "ralr-viz: archive `x.bin` is refused: member `train/../../zq\\x1b",
    ),
    "damaged image": ({"train/a/{}.png": b"no image"}, "zq"),
    "lacks a list": ({"{}/images.txt": b"1 x", "{}/classes.txt": b"1 x"}, "zq"),
    "left out": ({"train/{}.txt": b"x"}, "zq"),
    "transparent": ({"train/a/{}.png": image("RGBA")}, "zq"),
    "class": ({"train/{}/x.png": image(), "test/{}/x.png": image()}, "class name `zq\\x1b[31m\\n"),
    "class without images": ({"train/{}/x.txt": b"x"}, "zq"),
    "class of one split": ({"test/{}/x.png": image()}, "zq"),
    "huge": ({"train/a/{}" + "y" * 5000 + ".png": b"x"}, "zq"),
}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize(("write", "name"), [(write_tar, FILE), (write_zip, FILE[:-1])], ids=["tar", "zip"])
def test_member_of_an_archive(cli, tmp_path, write, name, kind):
    names, shown = MEMBERS[kind]
    archive = write(tmp_path / "x.bin", tree({key.format(name): data for key, data in names.items()}))
    outcome = cli("data", "import", "mine", "--from", archive, "--data", tmp_path / "root")
    check_lines(outcome, shown=shown)
    check_lines(cli("data", "list", "--data", tmp_path / "root"), shown="data root")
    assert len(outcome.err) < 4000


@pytest.mark.parametrize(("write", "name"), [(write_tar, FILE), (write_zip, FILE[:-1])], ids=["tar", "zip"])
def test_link_in_an_archive(cli, tmp_path, write, name):
    archive = write(tmp_path / "x.bin", tree({}), link=f"train/{name}")
    check_lines(cli("data", "import", "mine", "--from", archive, "--data", tmp_path / "root"))


def test_archive_and_folders_are_named_so(cli, tmp_path):
    folder = tmp_path / FILE
    folder.mkdir()
    root = folder / "root"
    whole = write_tar(folder / f"{FILE}.tar", tree({}))
    check_lines(cli("data", "import", "mine", "--from", whole, "--data", root))
    check_lines(cli("data", "doctor", "--data", root, "-q"), shown="mine")
    check_lines(cli("data", "list", "--data", root))
    cut = folder / f"{FILE}-cut.tar"
    cut.write_bytes(whole.read_bytes()[:-9000])
    check_lines(cli("data", "import", "mine", "--from", cut, "--data", root))
    check_lines(cli("data", "import", TEXT, "--from", whole, "--data", root))
    manifest = root / "mine" / "store.json"
    manifest.write_text(
        json.dumps(json.loads(manifest.read_text()) | {"notes": [FILE], "class_ids": [FILE] * 2})
    )
    check_lines(cli("data", "doctor", "--data", root, "-q"), shown="mine")
    check_lines(cli("data", "list", "--data", root))


def test_class_name_in_an_unusual_script_is_kept(cli, tmp_path):
    name = "می\u200cخواهم"  # Persian, with a joiner that the word needs
    archive = write_zip(
        tmp_path / "x.zip", tree({f"{split}/{name}/x.png": image() for split in ("train", "test")})
    )
    cli("data", "import", "mine", "--from", archive, "--data", tmp_path / "root").succeeded()
    assert name in json.loads((tmp_path / "root" / "mine" / "store.json").read_text())["class_names"]


@pytest.mark.parametrize(
    "content", [None, b"no image", image("RGBA")], ids=["missing", "damaged", "transparent"]
)
def test_image_file(cli, tmp_path, baseline, squares_root, content):
    file = tmp_path / f"{FILE[:-1]}.png"  # it is drawn
    if content is not None:
        file.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = cli(
            "cam",
            "--ckpt",
            baseline,
            "--images",
            file,
            "--data",
            squares_root,
            "--out",
            tmp_path / "out",
            "-q",
        )
    said = [str(warning.message) for warning in caught if "zq" in str(warning.message)]
    assert all("\x1b" not in text and "\n" not in text for text in said)
    assert said or "zq" in outcome.err
    check_lines(outcome, shown="")


def contiguous(state):
    return {name: tensor.contiguous() for name, tensor in state.items()}


def test_warning_is_one_line(cli):
    cli("--version")
    shown = warnings.formatwarning(UserWarning(f"image `{FILE}`"), UserWarning, "x.py", 1, "code")
    assert shown.startswith("ralr-viz: warning: image `zq\\x1b[31m ralr-viz: done") and shown.count("\n") == 1
    check_lines(dataclasses.replace(cli("--version"), err=shown))


HEADERS = (
    "arch",
    "method",
    "dataset",
    "content_hash",
    "class_names",
    "image_size",
    "mean",
    "format",
    "recipe",
    "seed",
)


@pytest.mark.parametrize("field", HEADERS)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_header_of_a_checkpoint(cli, tmp_path, baseline, weights, squares_root, field, suffix):
    whole = torch.load(baseline / "checkpoints" / "last.pt", weights_only=True)
    value = [FILE] + ["b"] * (len(whole["header"]["class_names"]) - 1) if field == "class_names" else FILE
    header, file = whole["header"] | {field: value}, tmp_path / f"{FILE}.{suffix}"
    if suffix == "pt":
        if field == "content_hash":
            whole["header"].pop(field, None)
        torch.save({"header": header, "model": weights}, file)
    else:
        header = {"ralr_viz": json.dumps(header | {"recipe": header.get("recipe")})}
        file.write_bytes(safetensors.torch.save(contiguous(weights), metadata=header))
    for command in (["eval"], ["export", "--out", tmp_path / f"{FILE}.out.safetensors"]):
        data = ["--data", squares_root, "--limit", 4] if command == ["eval"] else []
        shown = (
            "" if command == ["eval"] and field in ("class_names", "recipe", "seed", "content_hash") else "zq"
        )
        check_lines(cli(*command, "--ckpt", file, *data), shown=shown)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_keys_of_a_state_dict(cli, tmp_path, weights, squares_root, suffix):
    key = TEXT if suffix == "safetensors" else FILE
    stranger = ["--arch", "resnet20", "--dataset", "squares", "--data", squares_root]
    for state in (
        {**weights, key: torch.ones(3)},
        {f"module.{name}": tensor for name, tensor in weights.items()} | {f"{key}.weight": torch.ones(2, 2)},
    ):
        file = tmp_path / f"x.{suffix}"
        if suffix == "pt":
            torch.save({**state, f"{key}.ema": {key: 1.0}, f"{key}2": TEXT}, file)
        else:
            safetensors.torch.save_file(contiguous(state), file)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = cli("eval", "--ckpt", file, *stranger)
        said = "".join(str(warning.message) for warning in caught)
        assert "zq" in said + outcome.err
        assert "\x1b" not in said and "\n" not in said
        check_lines(outcome, shown="")


def test_checkpoint_that_is_not_there(cli, tmp_path, baseline, squares_root):
    (tmp_path / FILE).mkdir()
    for ckpt in (tmp_path / FILE, tmp_path / f"{FILE}.pt", f"{baseline}@{TEXT}"):
        check_lines(cli("eval", "--ckpt", ckpt))
    check_lines(cli("eval", "--ckpt", baseline, "--arch", TEXT, "--data", squares_root))
    check_lines(cli("eval", "--ckpt", baseline, "--dataset", TEXT, "--data", squares_root))
    check_lines(cli("eval", "--ckpt", baseline, "--device", TEXT, "--data", squares_root))


COLUMN = '"' + TEXT.replace('"', '""') + '"'
LOGS = {
    "unused column": f"epoch,val_acc,loss of {COLUMN}\n1,50,1\n2,60,1\n".replace(' of "', ' "').replace('loss "', '"loss '),
    "no known column": f"{COLUMN},b\n1,2\n",
    "bad cell": f"epoch,val_acc\n1,{COLUMN}\n",
    "bad epoch": f"epoch,val_acc\n{COLUMN},1\n",
    "cells": f"epoch,val_acc\n1,2,{COLUMN}\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", LOGS)
def test_log_in_csv(cli, tmp_path, kind):
    file = tmp_path / f"{FILE[:-1]}.csv"  # it is drawn
    file.write_bytes(LOGS[kind].encode())
    check_lines(cli("curves", "--run", file, "--out", tmp_path / f"{FILE}-out"))


def test_column_and_quantity_of_a_log(cli, tmp_path):
    file = tmp_path / "log.csv"
    file.write_text(f"epoch,val_acc,{COLUMN}\n1,50,1\n")
    for column in (f"val_acc={TEXT}y", f"{TEXT}=epoch", TEXT):
        check_lines(cli("curves", "--run", file, "--column", column, "--out", tmp_path / "out"))


@pytest.fixture
def run_directory(tmp_path):
    """Somebody's, with names of theirs wherever there may be one."""
    run = tmp_path / FILE / "seed0"
    run.mkdir(parents=True)
    text = json.dumps(TEXT)
    (run / "recipe.toml").write_text(f"recipe = {text}\nmethod = {text}\nseed = 0\n", encoding="utf-8")
    lines = [json.dumps({"epoch": epoch, "val_acc": epoch, TEXT: epoch}) + "\n" for epoch in (1, 2)]
    (run / "metrics.jsonl").write_text("".join(lines))
    (run / "result.json").write_text(json.dumps({"status": "diverged", "message": TEXT}))
    return run


def test_run_directory(cli, tmp_path, run_directory):
    check_lines(cli("curves", "--run", run_directory, "--out", tmp_path / "out"))
    check_lines(cli("run", run_directory))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("recipe.toml", f"seed = {TEXT}"),
        ("recipe.toml", "recipe = 1"),
        ("metrics.jsonl", json.dumps({"epoch": TEXT}) + "\n\n"),
        ("metrics.jsonl", json.dumps({"epoch": 1, "lr": TEXT}) + "\n\n"),
        ("result.json", TEXT),
        ("env.json", TEXT),
    ],
)
def test_damaged_file_of_a_run_directory(cli, tmp_path, run_directory, file, content):
    (run_directory / file).write_text(content, encoding="utf-8")
    check_lines(cli("curves", "--run", run_directory, "--out", tmp_path / "out"))


RECIPES = {
    "unknown field": f"{json.dumps(TEXT)} = 1\n",
    "value": f"optimizer = {json.dumps(TEXT)}\n",
    "wrong type": f"epochs = {json.dumps(TEXT)}\n",
    "broken": f"optimizer = {TEXT}\n",
    "twice": "{0} = 1\n{0} = 1\n".format(json.dumps(TEXT)),
    "dataset": f"dataset = {json.dumps(TEXT)}\n",
    "model": f"model = {json.dumps(TEXT)}\n",
}


@pytest.mark.parametrize("kind", RECIPES)
def test_recipe(cli, tmp_path, recipe_file, squares_root, kind):
    file = tmp_path / "zq.toml"
    field = RECIPES[kind].partition(" ")[0]
    kept = [
        line for line in recipe_file.read_text().splitlines(keepends=True) if not line.startswith(f"{field} ")
    ]
    file.write_text("".join(kept) + RECIPES[kind], encoding="utf-8")
    check_lines(cli("train", file, "--method", "ralr", "--data", squares_root, "--runs", tmp_path / "runs"))


def test_recipe_of_such_a_name_and_settings(cli, tmp_path, recipe_file, squares_root):
    where = ["--method", "ralr", "--data", squares_root, "--runs", tmp_path / FILE]
    for name in (FILE, f"{FILE}.toml", tmp_path / f"{FILE}.toml"):
        check_lines(cli("train", name, *where))
    (tmp_path / f"{FILE}.toml").write_text(recipe_file.read_text())
    check_lines(cli("train", tmp_path / f"{FILE}.toml", *where), shown="must have a name of one line of text")
    for setting in (TEXT, f"{TEXT}=1", f"optimizer={TEXT}", f"epochs={TEXT}", f"name={TEXT}"):
        check_lines(cli("train", recipe_file, "--set", setting, *where))
    check_lines(cli("train", recipe_file, "--method", TEXT, *where[2:]))
    check_lines(cli("train", recipe_file, "--seeds", TEXT, *where))
    check_lines(cli("train", recipe_file, "--prepare", *where))


STUDY = """
title = {title}
seeds = [0]
[base]
recipe = "digits-resnet20"
dataset = "squares"
epochs = 1
batch = 16
milestones = []
keep = []
[[axes]]
name = {axis}
values = [{{ label = {label}, lr = 0.01 }}, {{ label = "b", lr = 0.05 }}]
[[axes]]
name = "Method"
values = [{{ label = "Baseline", method = "baseline" }}, {{ label = "RALR", method = "ralr" }}]
"""


def write_study(path, *, title="t", axis="Rate", label="a"):
    path.write_text(STUDY.format(title=json.dumps(title), axis=json.dumps(axis), label=json.dumps(label)))
    return path


def test_study_whose_names_break_no_line(cli, tmp_path, squares_root):
    study = write_study(tmp_path / f"{LABEL.replace('/', '')}.toml", title=TEXT, axis=LABEL, label=LABEL)
    runs, data = ["--runs", tmp_path / FILE], ["--data", squares_root]
    for command in ("plan", "status", "commands"):
        check_lines(cli("study", command, study, *runs, *data))
    state = next((tmp_path / FILE).rglob("recipe.toml")).parent
    end = {"attempt": 1, "outcome": "failed", "error": TEXT}
    (state / "attempts.jsonl").write_text(json.dumps(end) + "\n")
    check_lines(cli("study", "status", study, *runs, *data), shown="failed: ")
    for kind in ("md", "latex", "csv", "html"):
        outcome = cli("study", "table", study, *runs, "--format", kind).succeeded()
        check_lines(outcome)
    for only in (f"{LABEL}={TEXT}", f"{TEXT}=a", TEXT):
        check_lines(cli("study", "plan", study, "--only", only, *runs, *data))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def check_terminal(text, *, markup="[red]x[/red]"):
    """A name as it is to be read, among codes of rich's own."""
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert markup in shown
    for obeyed in (*PARTS[:-1], "\u200b", "\udcff", *"\u202e\u2066"):
        assert obeyed not in text


def test_bars_on_a_terminal(monkeypatch):
    for show, names in (
        (show_progress(), [TEXT, TEXT + "2"]),
        (show_training(Path("a") / FILE / FILE, quiet=False), []),
    ):
        monkeypatch.setattr("sys.stderr", Terminal())
        monkeypatch.setenv("COLUMNS", "400")
        with show as progress:
            for name in names:
                progress(1, 2, name)
        check_terminal(sys.stderr.getvalue(), markup="[red]x[/red]" if names else "[red]x[red]")


def test_plan_on_a_terminal(tmp_path, squares_root):
    study = load_study(write_study(tmp_path / "s.toml", axis=LABEL, label=LABEL))
    plan = compute_plan(study, tmp_path / FILE, squares_root)
    prepare_plan(plan)
    state = plan.entries[0].directory
    (state / "attempts.jsonl").write_text(
        json.dumps({"attempt": 1, "outcome": "failed", "error": TEXT}) + "\n"
    )
    console = Console(file=Terminal(), force_terminal=True, width=1000)
    console.print(render_plan(compute_plan(study, tmp_path / FILE, squares_root)))
    check_terminal(console.file.getvalue())


@pytest.mark.parametrize("part", [{"axis": TEXT}, {"label": TEXT}])
def test_study_whose_names_break_a_line_is_refused(cli, tmp_path, part):
    outcome = cli("study", "plan", write_study(tmp_path / "s.toml", **part), "--dry-run")
    outcome.failed(2, "the name `zq\\x1b[31m\\n", "must be one line of text")
    check_lines(outcome)


@pytest.mark.parametrize(
    "change", [{"kind": TEXT}, {"schema": TEXT}, {"fields": {TEXT: 1}}, {"provenance": TEXT}]
)
def test_saved_result(cli, tmp_path, change):
    log = tmp_path / "log.csv"
    log.write_text("epoch,val_acc\n1,50\n2,60\n")
    result = save_result(compute_curves([load_log_csv(log)]), tmp_path / FILE)
    manifest = json.loads((result / "manifest.json").read_text())
    (result / "manifest.json").write_text(json.dumps(manifest | change))
    check_lines(cli("draw", result, "--out", tmp_path / "again"))


def test_command_line_prints_in_one_place():
    """What forgets `print_line` and `print_note` would print a name as it is."""
    folder = Path(ralr_viz.cli.__file__).parent
    found = {
        f"{file.name}: {name}"
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func))
        in ("print", "typer.echo", "typer.secho", "rich.print", "sys.stderr.write")
    }
    assert found == {"lines.py: print", "lines.py: typer.echo"}
