"""Published numbers, made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer.main

from ralr_viz.cli.app import app, main
from ralr_viz.errors import InputError
from ralr_viz.results.table_difference import compare_tables
from ralr_viz.workflows.replay import replay_run
from ralr_viz.workflows.verify import find_unlisted, read_list, verify

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "figures"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("made", "tolerance", "where"),
    [
        ("name,x\na,1.0\nb,-4\n", 0, ""),
        ("name,x\na,1.003\nb,-4\n", 1e-3, ""),
        ("name,x\na,1.005\nb,-4\n", 1e-3, "row 1, `x`: 1.0 was published, 1.005 made"),
        ("name,x\na,1.0\nc,-4\n", 1, "row 2, `name`: b was published, c made"),
        ("name,x\na,1.0\nb,nan\n", 1, "row 2, `x`: -4 was published, nan made"),
        ("name,y\na,1.0\nb,-4\n", 1, "the columns differ (`"),
        ("name,x\na,1.0\n", 1, "2 rows were published, 1 made"),
    ],
)
def test_tables_are_compared_in_shares_of_their_columns(made: str, tolerance: float, where: str) -> None:
    found = compare_tables("name,x\na,1.0\nb,-4\n", made, tolerance)
    assert found.where.startswith(where) and bool(found.where) == bool(where)


def test_every_published_table_is_listed_once_and_its_command_exists() -> None:
    listed = read_list(FIGURES)
    assert find_unlisted(FIGURES, listed) == []
    for entry in listed.made:
        command = COMMANDS[entry.command[0]]
        command = command.commands[entry.command[1]] if entry.command[0] == "study" else command
        known = {name for parameter in command.params for name in parameter.opts}
        assert {"--out", *(word for word in entry.command if word.startswith("--"))} <= known
        assert entry.quick or "--device" in known
    assert all((ROOT / replayed.run / "recipe.toml").is_file() for replayed in listed.replayed)


def test_published_numbers_that_need_no_data_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.argv", ["ralr-viz", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return str(ended.value.code or "")

    found = [one for one in verify(FIGURES, quick=True, run=run) if one.outcome != "left out"]
    assert len(found) == 4 and {one.outcome for one in found} == {"equal"}


LIST = """
[[made]]
command = "cam --x"
files = { "a.csv" = "cam.csv", "sub/b.csv" = "b.csv" }
tolerance = 0.01
[[made]]
command = "broken"
files = { "c.csv" = "c.csv" }
[[left]]
files = ["d*.csv"]
reason = "no reason"
"""


def test_what_differs_fails_or_is_left_out_is_said(tmp_path: Path) -> None:
    for name in ("a", "c", "d1", "d2", "sub/b"):
        (tmp_path / f"{name}.csv").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    (tmp_path / "verify.toml").write_text(LIST)
    assert find_unlisted(tmp_path, read_list(tmp_path)) == []

    def run(words, cwd):
        assert cwd == tmp_path
        if words[0] == "broken":
            return "ralr-viz: it broke"
        assert words[:3] == ["cam", "--x", "--out"]
        (Path(words[3]) / "cam.csv").write_text("x\n1.005\n")
        (Path(words[3]) / "b.csv").write_text("x\n2\n")
        return ""

    assert [one.line for one in verify(tmp_path, run=run)] == [
        "equal: a.csv: 1 numbers within 0.01 (largest 0.005)",
        "differs: sub/b.csv: row 1, `x`: 1 was published, 2 made (largest difference 1)",
        "failed: c.csv: ralr-viz: it broke",
        "left out: d*.csv: 2 files: no reason",
    ]
    (tmp_path / "e.csv").write_text("x\n")
    (tmp_path / "c.csv").unlink()
    unlisted = find_unlisted(tmp_path, read_list(tmp_path))
    assert [line.split(" of ")[0].split(":")[0] for line in unlisted] == [
        "`e.csv` is not in verify.toml",
        "`c.csv`",
    ]
    (tmp_path / "verify.toml").write_text("[[made]]\n")
    with pytest.raises(InputError, match="is damaged"):
        read_list(tmp_path)


def test_a_replayed_run_is_the_run_and_a_changed_record_is_found(
    trained_pair: Path, squares_root: Path, tmp_path: Path
) -> None:
    (run,) = trained_pair.glob("*/ralr/seed0")
    found = replay_run(run, 2, root=squares_root, device="cpu")
    assert found.outcome == "reproduced", found.note
    copy = shutil.copytree(run, tmp_path / "ralr" / "seed0")
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    lines[0] = json.dumps(record | {"val_loss": record["val_loss"] + 1e-9})
    (copy / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert "`val_loss` of epoch 1" in replay_run(copy, 1, root=squares_root, device="cpu").note
    env = json.loads((copy / "env.json").read_text())
    (copy / "env.json").write_text(json.dumps(env | {"processor": "another"}))
    other = replay_run(copy, 1, root=squares_root, device="cpu")
    assert other.outcome == "not comparable" and other.note.endswith("and the run on another")
