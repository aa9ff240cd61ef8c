"""Logs of other people's loops, in the forms that popular tools write."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.log_csv import load_log_csv, recognise_column
from ralr_viz.results.run import RunRecord


def read(folder: Path, text: str, **options: dict[str, str]) -> RunRecord:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return load_log_csv(path, **options)


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("epoch", "epoch"),
        ("Epoch", "epoch"),
        ("lr", "lr"),
        ("Learning Rate", "lr"),
        ("learning_rate", "lr"),
        ("lr-SGD", "lr"),
        ("lr-RMSprop-1/pg2", "lr"),
        ("lr-SGD-momentum", None),
        ("loss", "train_loss"),
        ("Train Loss", "train_loss"),
        ("train/loss", "train_loss"),
        ("train_loss_epoch", "train_loss"),
        ("trainingLoss", "train_loss"),
        ("train_loss_eval", "train_loss_eval"),
        ("val_loss", "val_loss"),
        ("valid_loss", "val_loss"),
        ("Validation Loss", "val_loss"),
        ("eval_loss", "val_loss"),
        ("loss/val", "val_loss"),
        ("test_loss", "test_loss"),
        ("val_acc", "val_acc"),
        ("val_accuracy", "val_acc"),
        ("Valid-Top1", "val_acc"),
        ("val_acc@1", "val_acc"),
        ("eval_top1", "val_acc"),
        ("Test accuracy (%)", "test_acc"),
        ("train_acc", "train_acc"),
        ("acc", "acc"),
        ("accuracy", "acc"),
        ("top1", "acc"),
        ("Prec@1", "acc"),
        ("base_lr", "base_lr"),
        ("seconds", None),
        ("", None),
        ("top5", None),
        ("closs", None),
    ],
)
def test_recognise_column_knows_common_spellings(name: str, quantity: str | None) -> None:
    assert recognise_column(name) == quantity


def test_load_log_csv_reads_a_plain_log(tmp_path: Path) -> None:
    record = read(tmp_path, "epoch,lr,train_loss,val_loss,val_acc\n1,0.1,2.3,2.2,10\n2,0.1,1.5,,55.5\n")
    assert (record.method, record.seed, record.label, record.status) == ("mine", None, "mine", "unknown")
    assert record.epoch.tolist() == [1, 2]
    assert record.metrics["lr"].tolist() == [0.1, 0.1]
    assert record.metrics["val_acc"].tolist() == [10, 55.5]
    np.testing.assert_array_equal(record.metrics["val_loss"], [2.2, math.nan])
    assert record.notes == ()


def test_load_log_csv_reads_keras(tmp_path: Path) -> None:
    record = read(
        tmp_path, "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,1.2,0.4,1.3\n1,0.75,0.9,0.6,1.1\n"
    )
    assert record.epoch.tolist() == [1, 2]
    assert record.metrics["train_acc"].tolist() == [50, 75]
    assert record.metrics["val_acc"].tolist() == [40, 60]
    assert len(record.notes) == 3
    assert "`accuracy` is taken as train_acc" in record.notes[0]


def test_load_log_csv_merges_the_lines_of_lightning(tmp_path: Path) -> None:
    text = "epoch,lr-SGD,step,train_loss_epoch,val_acc,val_loss\n0,,99,,0.5,1.5\n0,0.1,99,2.0,,\n1,,199,,0.6,1.2\n1,0.1,199,1.0,,\n"
    record = read(tmp_path, text)
    assert record.epoch.tolist() == [1, 2]
    assert record.metrics["train_loss"].tolist() == [2, 1]
    assert record.metrics["val_acc"].tolist() == [50, 60]
    assert record.metrics["lr"].tolist() == [0.1, 0.1]


def test_load_log_csv_reads_lightnings_learning_rate_monitor(tmp_path: Path) -> None:
    """Its lines have no epoch and stand before those of their epoch; the last one's epoch is not done."""
    text = (
        "epoch,lr-SGD,step,train_loss,val_loss\n"
        ",0.1,0,,\n0,,49,2.0,\n0,,99,1.0,\n0,,99,,1.5\n"
        ",0.05,100,,\n1,,149,0.8,\n1,,199,0.4,\n1,,199,,1.2\n"
        ",0.01,200,,\n"
    )
    record = read(tmp_path, text)
    assert record.epoch.tolist() == [1, 2]
    assert record.metrics["lr"].tolist() == [0.1, 0.05]
    np.testing.assert_allclose(record.metrics["train_loss"], [1.5, 0.6], rtol=1e-15)  # not the last batch's
    assert record.metrics["val_loss"].tolist() == [1.5, 1.2]
    assert "train_loss has up to 2 values an epoch: their mean is taken" in record.notes
    with pytest.raises(InputError, match="line 3, column `epoch`: `` is not an epoch"):
        read(tmp_path, "epoch,lr,val_loss\n1,0.1,2\n,0.1,2\n2,0.1,2\n")
    with pytest.raises(InputError, match="is not an epoch"):
        read(tmp_path, "epoch,lr\n,0.1\n,0.1\n")


def test_load_log_csv_keeps_equal_rates_to_the_bit_and_the_last_of_several_evaluations(
    tmp_path: Path,
) -> None:
    record = read(tmp_path, "epoch,lr,val_loss\n1,0.1,3\n1,0.1,2\n1,0.1,\n")
    assert (record.metrics["lr"].tolist(), record.metrics["val_loss"].tolist()) == ([0.1], [2])
    assert record.notes == ("val_loss has up to 2 values an epoch: the last one counts",)


def test_load_log_csv_says_that_a_training_was_restarted(tmp_path: Path) -> None:
    rows = [(0, 3), (1, 2), (2, 1), (1, 9), (2, 8), (3, 7), (3, 6)]
    record = read(tmp_path, "epoch,val_loss\n" + "".join(f"{e},{v}\n" for e, v in rows))
    assert record.epoch.tolist() == [1, 2, 3, 4]
    assert record.metrics["val_loss"].tolist() == [3, 9, 8, 6]
    assert record.notes[0] == "epochs 2 to 3 are logged again further down (a restart): the later lines count"
    # a block for each split is none, nor is a log from the last epoch to the first
    blocks = read(tmp_path, "epoch,train_loss,val_loss\n1,2,\n2,1,\n1,,4\n2,,3\n")
    assert (blocks.metrics["train_loss"].tolist(), blocks.metrics["val_loss"].tolist()) == ([2, 1], [4, 3])
    backwards = read(tmp_path, "epoch,val_loss\n3,1\n2,2\n1,3\n")
    assert (backwards.metrics["val_loss"].tolist(), blocks.notes, backwards.notes) == ([3, 2, 1], (), ())
    # what the first attempt had evaluated after the place of the restart is gone with it
    cut = read(tmp_path, "epoch,train_loss,val_loss\n1,3,3\n2,2,2\n3,1,1\n2,5,\n")
    np.testing.assert_array_equal(cut.metrics["val_loss"], [3, math.nan])


def test_load_log_csv_reads_ultralytics(tmp_path: Path) -> None:
    text = (
        "epoch,time,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0,lr/pg1\n"
        "1,9.1,2.0,0.25,0.5,1.9,0.01,0.02\n2,9.0,1.0,0.5,0.9,1.5,0.01,0.02\n"
    )
    record = read(tmp_path, text)
    assert record.metrics["val_acc"].tolist() == [25, 50]
    assert record.metrics["lr"].tolist() == [0.01, 0.01]
    said = " ".join(record.notes)
    assert "`metrics/accuracy_top1` is taken as val_acc" in said
    assert "not used: `metrics/accuracy_top5`; name a column by --column" in said
    assert "`lr/pg1` is left out: lr is column `lr/pg0`" in said


def test_load_log_csv_counts_lines_without_epochs(tmp_path: Path) -> None:
    record = read(tmp_path, "\ufeffTop1;Loss\r\n10;2.5\r\n\r\n20;1.5\r\n")
    assert record.epoch.tolist() == [1, 2]
    assert record.metrics["val_acc"].tolist() == [10, 20]  # no other accuracy, and in per cent already
    assert record.metrics["train_loss"].tolist() == [2.5, 1.5]
    assert "no `epoch` column" in " ".join(record.notes)


def test_load_log_csv_decides_the_unit_for_all_accuracies_together(tmp_path: Path) -> None:
    record = read(tmp_path, "epoch,train_acc,val_acc\n1,0.9,1.5\n2,1.0,2\n")  # 0.9 % beside 1.5 %
    assert record.metrics["train_acc"].tolist() == [0.9, 1.0]
    assert record.notes == ()
    assert read(tmp_path, "epoch,val_acc\n1,\n2,1.0\n").metrics["val_acc"][1] == 100


def test_load_log_csv_takes_named_columns(tmp_path: Path) -> None:
    record = read(tmp_path, "T,score,acc\n1,50,60\n", columns={"epoch": "T", "val_acc": "score"})
    assert record.metrics["val_acc"].tolist() == [50]
    assert record.metrics["train_acc"].tolist() == [60]
    with pytest.raises(UnknownNameError, match="did you mean `score`"):
        read(tmp_path, "T,score\n1,50\n", columns={"val_acc": "scores"})
    with pytest.raises(UnknownNameError, match="did you mean `val_acc`"):
        read(tmp_path, "T,score\n1,50\n", columns={"vall_acc": "score"})


def test_load_log_csv_says_which_of_two_columns_it_takes(tmp_path: Path) -> None:
    record = read(tmp_path, "val_acc,valid_accuracy\n10,20\n")
    assert record.metrics["val_acc"].tolist() == [10]
    assert "`valid_accuracy` is left out: val_acc is column `val_acc`" in record.notes[0]


def test_load_log_csv_leaves_out_a_half_written_line(tmp_path: Path) -> None:
    assert read(tmp_path, "epoch,lr,loss\n1,0.1,2\n2,0.").epoch.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no numbers"),
        ("epoch,loss\n", "holds no numbers"),
        ("when,what\n1,2\n", r"has no known column \(`when`, `what`\)"),
        ("epoch\n1\n", "has no known column"),
        ("epoch,loss\n1,2\n2,x\n", r"line 3, column `loss`: `x` is not a number"),
        ("epoch,loss\n1,2\n1.5,2\n", r"line 3, column `epoch`: `1.5` is not an epoch"),
        ("epoch,loss\n-1,2\n", "`-1` is not an epoch"),
        ("epoch,loss\n,2\n", "`` is not an epoch"),
        ("epoch,loss\n1e30,2\n", "is not an epoch"),
        ("epoch,val_acc\n1,101\n", r"line 2, column `val_acc`: `101` is not an accuracy"),
        ("epoch,val_acc\n1,-0.1\n", "is not an accuracy"),
        ("epoch,loss\n1,2,3\n2,2\n", "line 2 has 3 cells, its header 2"),
        ('epoch,loss\n1,"2\n2,3\n', "line 3, column `loss`: `2 2,3` is not a number"),
        ('"a\nb",c\n1,2\n', r"no known column \(`a b`, `c`\)"),
        ("epoch,loss\n1,2\x00\n", "line 2"),
        ("epoch,loss\n1," + "9" * 200_000 + "\n", "line 2 is not CSV"),
    ],
)
def test_load_log_csv_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_load_log_csv_says_what_it_expects(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\x89PNG\xff\xfe")
    for path, message in [
        (tmp_path / "missing.csv", "does not exist"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "binary.csv", "is not text in UTF-8"),
    ]:
        with pytest.raises(InputError, match=message):
            load_log_csv(path)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e3) | st.none(), st.floats(1.5, 100)),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40)
def test_load_log_csv_reads_what_pandas_writes(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    frame = pandas.DataFrame(rows, columns=["train_loss", "val_loss", "val_acc"]).astype(float)
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    frame.to_csv(path, index_label="epoch")
    record = load_log_csv(path)
    assert record.epoch.tolist() == list(range(1, len(rows) + 1))
    for name in frame.columns:
        np.testing.assert_array_equal(record.metrics[name], frame[name])
