"""One table of columns, and everything that reads it says what it said before."""

from __future__ import annotations

import ast
from pathlib import Path

import ralr_viz
from ralr_viz.report.curves import _QUANTITIES
from ralr_viz.results.columns import ACCURACIES, BY_NAME, COLUMNS, CURVES, QUANTITIES
from ralr_viz.results.effect import OUTCOMES
from ralr_viz.results.log_csv import _TRAINING, recognise_column

ORDER = (
    *("base_lr", "factor", "lr", "train_loss", "train_acc", "train_loss_eval"),
    *("val_loss", "val_acc", "test_loss", "test_acc"),
)


def test_columns_are_those_of_records_curves_and_logs() -> None:
    assert ORDER == QUANTITIES and len(BY_NAME) == len(COLUMNS)
    assert tuple(name for name in ORDER if name != "train_acc") == CURVES
    assert ACCURACIES == ("train_acc", "val_acc", "test_acc")
    assert set(_TRAINING) == {"train_loss", "train_acc", "lr", "base_lr"}


def test_columns_are_titled_as_the_page_and_the_effect_title_them() -> None:
    assert list(_QUANTITIES.values()) == [
        *("scheduled LR", "factor", "LR", "training loss (running)", "training loss (eval mode)"),
        *("validation loss", "validation accuracy (%)", "test loss", "test accuracy (%)"),
    ]
    assert {name: tuple(outcome) for name, outcome in OUTCOMES.items()} == {
        "train_loss_eval": ("training loss", "nats"),
        "val_loss": ("validation loss", "nats"),
        "test_loss": ("test loss", "nats"),
        "val_acc": ("validation accuracy", "points"),
        "test_acc": ("test accuracy", "points"),
        "step_length": ("weight step", "ln"),
        "forgotten": ("examples forgotten", "points"),
    }


def test_columns_are_recognised_by_their_own_names_and_aliases() -> None:
    for name in ORDER:
        assert recognise_column(name) == name
        assert {recognise_column(alias) for alias in BY_NAME[name].aliases} <= {name}
    assert recognise_column("loss") == "train_loss" and recognise_column("acc") == "acc"
    assert recognise_column("eval/top1") == "val_acc" and recognise_column("train_acc_epoch") == "train_acc"


def test_columns_say_which_way_is_better() -> None:
    assert {c.higher_is_better for c in COLUMNS if c.is_accuracy} == {True}
    assert {c.higher_is_better for c in COLUMNS if c.unit == "nats"} == {False}


def test_columns_are_listed_in_one_module() -> None:
    """A list of three or more of them elsewhere is a second table: take it from this one, or derive it."""
    root, found = Path(ralr_viz.__file__).parent, set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = [item.value for item in node.elts if isinstance(item, ast.Constant)]
                if sum(text in ORDER for text in texts) > 2:
                    found.add(file.relative_to(root).as_posix())
    # the curves of a fork are its own: from the start, and in eval mode under another name
    assert found - {"results/fork.py", "results/effect.py"} == {"results/columns.py"}
