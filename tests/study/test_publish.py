"""What a study's finished runs leave for others, and that it counts where it is copied back to."""

import json
import shutil

import pytest
import torch

from ralr_viz.errors import InputError
from ralr_viz.study.decision import compute_decision
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.plan import compute_plan, prepare_plan
from ralr_viz.study.publish import publish_study
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.loop import train_run

RULE = {
    "outcome": "unseen", "baseline": "B", "support": "M", "collapse": 5.0, "equivalence": 0.1, "resolution": 1.4,
    "families": [{"name": "M", "level": 0.5, "tests": [["R", "B"]]}],
}  # fmt: skip
RECIPE = """
dataset = "squares"
model = "resnet20"
epochs = 1
batch = 16
lr = 0.05
subset = 48
evaluate_test = "end"
evaluate_unused = "end"
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    arms = [("B", "baseline", 1), ("R", "ralr", 1), ("S", "scaled", 2)]
    values = [{"label": label, "method": method, "stage": stage} for label, method, stage in arms]
    file = {"base": {"recipe": str(tmp_path / "small.toml")}, "axes": [{"name": "Arm", "values": values}]}
    return build_study(file | {"seeds": [0, 1], "order": "seed", "decision": RULE}, "mine", "mine.toml")


def test_published_runs_decide_what_the_runs_decided(study, tmp_path, squares_root):
    """Train, publish while it goes on, copy back: done runs are done, and the verdict is the same."""
    runs, out = tmp_path / "runs", tmp_path / "published"
    directories = prepare_plan(compute_plan(study, runs, squares_root))
    train_run(directories[0], squares_root, device="cpu")
    assert publish_study(study, runs, out) == [out / directories[0].relative_to(runs)]
    for directory in directories[1:]:
        train_run(directory, squares_root, device="cpu")
    assert len(publish_study(study, runs, out)) == 5
    assert publish_study(study, runs, out) == []
    weights = {p.parents[1].relative_to(out) for p in out.rglob("last.safetensors")}
    assert weights == {d.relative_to(runs) for d in directories[:4]}  # of what decides
    for directory in directories[:4]:
        ours, theirs = (load_checkpoint(d).weights for d in (directory, out / directory.relative_to(runs)))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    few = tmp_path / "few"
    assert len(publish_study(study, runs, few, weights={1})) == 6
    assert {p.parents[1].name for p in few.rglob("last.safetensors")} == {"seed1"}
    assert compute_decision(study, few) == compute_decision(study, runs)
    assert compute_decision(study, out) == compute_decision(study, runs)
    assert compute_decision(study, out).complete
    back = shutil.copytree(out, tmp_path / "back")
    assert prepare_plan(compute_plan(study, back, squares_root)) == []
    assert not any(
        str(tmp_path) in p.read_text(errors="replace")
        for p in out.rglob("*")
        if p.suffix in (".json", ".jsonl")
    )


def test_publish_replaces_no_other_run(study, tmp_path, squares_root):
    runs, out = tmp_path / "runs", tmp_path / "published"
    first = prepare_plan(compute_plan(study, runs, squares_root))[0]
    train_run(first, squares_root, device="cpu")
    publish_study(study, runs, out)
    published = out / first.relative_to(runs) / "result.json"
    published.write_text(json.dumps(json.loads(published.read_text()) | {"seconds": 0}))
    with pytest.raises(InputError, match="is another run than"):
        publish_study(study, runs, out)
