"""Errors of bad arguments are ValueErrors, and no handler of ValueErrors swallows what they say."""

import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR

import ralr_viz as rv
from ralr_viz import errors
from ralr_viz.schedule import amplification_factors, matched_factors, mean_factor
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run


def base():
    return MultiStepLR(torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1), [3])


@pytest.mark.parametrize(
    "call",
    [
        lambda: rv.RALR(base(), low=-1),
        lambda: rv.RALR(base(), low=3, high=2),
        lambda: rv.RALR(base(), probability=2),
        lambda: rv.RALR(base(), draw="normal"),
        lambda: rv.RALR(nn.Linear(1, 1)),
        lambda: rv.MatchedRALR(base(), 0),
        lambda: rv.LRNoise(base(), pct=2),
        lambda: amplification_factors(-1, 3),
        lambda: mean_factor(low=0),
        lambda: matched_factors([0.1], [0]),
        lambda: rv.load_run("no/such/run"),
        lambda: rv.load_result("no/such/result"),
        lambda: rv.load_checkpoint("no/such/checkpoint"),
        lambda: rv.load_study("tabel1"),
        lambda: rv.compute_curves([]),
    ],
)
def test_bad_arguments_raise_a_value_error(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert isinstance(caught.value, errors.InputError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownNameError("data set", "cat", ["cats"]),
        errors.InterruptedRunError("stopped", 15),
        errors.StorageError("full"),
    ],
)
def test_errors_cross_from_one_process_to_another(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and copy.exit_code == error.exit_code
    assert str(copy) == str(error)


def test_only_bad_input_is_a_value_error():
    kinds = [k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, errors.RalrVizError)]
    assert {k for k in kinds if issubclass(k, ValueError)} == {
        k for k in kinds if issubclass(k, errors.InputError)
    }
    assert not issubclass(errors.StorageError, ValueError)


def test_state_of_another_schedule_is_named_when_a_run_is_resumed(make_recipe, squares_root, tmp_path):
    """The scheduler's own message, not "lacks what training needs": it is a ValueError that is re-raised."""
    directory = prepare_run(make_recipe(), "ralr", 0, tmp_path)
    train_run(directory, squares_root, device="cpu")
    (directory / "result.json").unlink()
    for name in ("last", "prev"):
        path = directory / "checkpoints" / f"{name}.pt"
        state = torch.load(path, weights_only=True)
        state["scheduler"]["high"] = 4.0
        torch.save(state, path)
    with pytest.raises(errors.InputError, match="`high` is 3.0 but 4.0 in `state_dict`"):
        train_run(directory, squares_root, device="cpu")
