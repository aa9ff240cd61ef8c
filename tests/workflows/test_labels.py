"""Labels of what a command is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.errors import InputError
from ralr_viz.nouns import NOUNS
from ralr_viz.results.run import RunRecord
from ralr_viz.workflows import subjects
from ralr_viz.workflows.labels import check_labels, relabel_runs
from ralr_viz.workflows.subjects import Ears


def test_check_labels_takes_one_different_name_for_each_input() -> None:
    assert check_labels(["a", "$b$"], 2) == ["a", "$b$"]
    for labels, fragment in (
        (["a"], "given 1 times for 2"),
        (["a", "a"], "given twice"),
        (["a", " "], "is empty"),
    ):
        with pytest.raises(InputError) as error:
            check_labels(labels, 2)
        assert fragment in str(error.value)


def test_labels_name_the_networks_of_a_comparison_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        subjects, "compare", lambda specs, **_: seen.append(specs) or SimpleNamespace(notes=())
    )
    given = {"ckpt": ["x", "y"], "label": ["SGD", "ours"]}
    for name in ("sharpness", "barrier"):
        subjects.open_subject(NOUNS[name], given | {"augment": False}, {}, Ears(None, print, print))
    assert seen == [{"SGD": "x", "ours": "y"}] * 2


def test_labels_name_the_lines_of_runs_of_which_several_are_averaged() -> None:
    epoch = np.arange(1, 4)
    metrics = dict.fromkeys(("lr", "base_lr", "factor", "train_loss", "val_loss", "val_acc"), 1 / epoch)
    runs = [
        RunRecord(
            "toy", method, seed, epoch, metrics, {"method": method, "seed": seed}, {"status": "finished"}
        )
        for method, seed in (("baseline", 0), ("baseline", 1), ("ralr", 0))
    ]
    found = relabel_runs(compute_curves(runs), ["SGD", "ours"])
    assert found.group == ("SGD", "SGD", "ours") and found.method == ("baseline", "baseline", "ralr")
    with pytest.raises(InputError, match="given 3 times for 2 inputs"):
        relabel_runs(found, ["a", "b", "c"])
