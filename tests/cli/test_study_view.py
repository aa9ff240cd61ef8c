import io
import json

import pytest
from rich.console import Console

from ralr_viz.cli import study_view
from ralr_viz.cli.study_run import _LiveTable
from ralr_viz.cli.study_view import format_duration, render_plan, watch
from ralr_viz.study.grid_file import load_study
from ralr_viz.study.plan import compute_plan, prepare_plan


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (61, "1.0 min"), (719, "12 min"), (12600, "3.5 h"), (5 * 86400, "5.0 days")],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


def show(plan, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(render_plan(plan))
    return console.file.getvalue()


@pytest.fixture
def look(tmp_path, squares_root):
    study = load_study("table9-laptop", ["dataset=squares"]).with_seeds([0])
    return lambda: compute_plan(study, tmp_path, squares_root)


def test_render_plan_prints_labels_that_look_like_markup(look):
    assert "[1, 3]" in show(look())


def test_render_plan_shows_what_ended_badly_and_why(look):
    first, second, *_ = prepare_plan(look())
    (first / "attempts.jsonl").write_text(
        json.dumps({"outcome": "failed", "error": "ValueError: [/x] no"}) + "\n"
    )
    (second / "result.json").write_text(json.dumps({"status": "diverged", "message": "in epoch 3"}))
    text = " ".join(show(look(), width=400).split())
    assert f"failed: {first}: ValueError: [/x] no" in text
    assert f"diverged: {second}: in epoch 3" in text


def test_watch_looks_again_until_every_run_has_ended(look, monkeypatch):
    directories = prepare_plan(look())
    looks = []

    def finish_one(_):
        looks.append(1)
        (directories[len(looks) - 1] / "result.json").write_text('{"status": "finished"}')

    monkeypatch.setattr(study_view.time, "sleep", finish_one)
    watch(look)
    assert len(looks) == len(directories) == 4


def test_live_table_reads_the_files_no_more_often_than_it_may(look, monkeypatch):
    clock, count = [100.0], []
    monkeypatch.setattr("ralr_viz.cli.study_run.time.monotonic", lambda: clock[0])
    table = _LiveTable(lambda: count.append(1) or look())
    for _ in range(5):
        table.render()
    assert len(count) == 2  # at its making and at the first call
    clock[0] += 1.5
    table.render()
    assert len(count) == 3
