import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.train.recipe import (
    Recipe,
    load_recipe,
    recipe_from_dict,
    recipe_names,
    recipe_to_toml,
    run_folder,
)

LAPTOP = ("-short", "-tiny")
PAPER = [n for n in recipe_names() if not n.endswith(LAPTOP) and n != "digits-resnet20"]


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipe_has_the_numbers_of_section_5(name):
    r = load_recipe(name)
    assert (r.epochs, r.lr, r.momentum, r.nesterov, r.weight_decay) == (300, 0.1, 0.9, True, 1e-4)
    assert (r.milestone_epochs, r.gamma) == ((150, 225), 0.1)
    assert (r.low, r.high, r.probability, r.interval) == (1, 3, 0.5, 1)
    assert (r.crop_padding, r.flip, r.validation) == (4, True, 0)
    assert r.batch == (64 if "densenet" in name else 128)
    assert {200, 300} <= r.kept_epochs


@pytest.mark.parametrize("name", [n for n in recipe_names() if n.endswith("-short")])
def test_short_recipe_decays_at_half_and_three_quarters_and_holds_out_a_tenth(name):
    r = load_recipe(name)
    assert r.epochs >= 20
    assert r.milestone_epochs == (r.epochs // 2, 3 * r.epochs // 4)
    assert r.validation == 0.1
    assert {round(2 / 3 * r.epochs), r.epochs} <= r.kept_epochs


def test_tiny_recipe_flips_often_and_uses_a_stated_subset():
    r = load_recipe("cifar10-resnet20-tiny")
    assert max(r.milestone_epochs) >= 15
    assert (r.subset, r.validation, r.interval) == (10_000, 0.2, 1)


def test_recipe_names_are_dataset_and_model():
    for name in recipe_names():
        r = load_recipe(name)
        assert name.removesuffix("-short").removesuffix("-tiny") == f"{r.dataset}-{r.model}"
        assert r.description


def test_load_recipe_overrides_and_scales_fractions():
    r = load_recipe("cifar10-resnet110", ["epochs=30", "lr=1", "milestones=10,0.5", "optimizer=adam"])
    assert (r.epochs, r.lr, r.milestone_epochs, r.optimizer) == (30, 1.0, (10, 15), "adam")
    assert isinstance(r.lr, float)


def test_load_recipe_reads_a_users_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('dataset = "x"\nmodel = "resnet20"\nepochs = 2\nbatch = 4\nlr = 0.1\n')
    assert load_recipe(file).name == "mine"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("probability=1.5", r"`probability` = 1.5 must be in \[0, 1\]"),
        ("low=4.0", "`high` = 3.0 must be finite and at least `low` = 4.0"),
        ("lr=nan", "`lr` = nan must be a positive, finite number"),
        ("lr=fast", "`lr` = 'fast' must be of type float"),
        ("epochs=2.5", "`epochs` = 2.5 must be of type int"),
        ("flip=1", "`flip` = 1 must be of type bool"),
        ("milestones=400", "`milestones` = "),
        ("optimizer=lion", "`optimizer` = 'lion' must be one of sgd, adam, adagrad"),
        ("momentum=0", "`nesterov` = True must be false without momentum"),
        ("epochs", "has no `=`"),
    ],
)
def test_load_recipe_refuses_bad_settings_in_one_line(override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("cifar10-resnet20", [override])
    assert "\n" not in str(caught.value)


def test_load_recipe_offers_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean `cifar10-resnet110`"):
        load_recipe("cifar10-resnet101")
    with pytest.raises(UnknownNameError, match="did you mean `probability`"):
        load_recipe("cifar10-resnet20", ["probabilty=0.1"])


def test_recipe_from_dict_names_a_missing_setting():
    with pytest.raises(InputError, match="`mine.toml` lacks the setting `model`"):
        recipe_from_dict({"dataset": "cifar10"}, "mine.toml")


def test_key_depends_on_results_only():
    r = load_recipe("cifar10-resnet110")
    same = dataclasses.replace(r, keep_every=1, keep=(5,), train_sample=10, name="x", description="y")
    assert same.key() == r.key()
    assert dataclasses.replace(r, milestones=(150, 225)).key() == r.key()
    assert (
        len(
            {
                dataclasses.replace(r, **{f: v}).key()
                for f, v in (("lr", 0.2), ("flip", False), ("subset", 10))
            }
        )
        == 3
    )


def test_key_of_the_baseline_ignores_the_amplification():
    r = load_recipe("cifar10-resnet110")
    high = dataclasses.replace(r, high=5.0, probability=0.3)
    assert high.key("baseline") == r.key("baseline")
    assert high.key("ralr") != r.key("ralr")
    assert high.key("scaled") != r.key("scaled")


def test_key_is_pinned_so_that_published_runs_stay_valid():
    assert load_recipe("cifar10-resnet20-short").key() == "280755d5"
    assert load_recipe("tiny-imagenet-50-resnet20-short").key() == "404b216e"
    assert load_recipe("cifar10-resnet20-tiny").key() == "c0cc93c7"


def test_run_folder_has_the_key_only_where_the_recipe_was_changed():
    assert str(run_folder(load_recipe("cifar10-resnet20"), "ralr", 3)) == "cifar10-resnet20/ralr/seed3"
    changed = load_recipe("cifar10-resnet20", ["high=5"])
    assert str(run_folder(changed, "ralr", 3)) == f"cifar10-resnet20-{changed.key()}/ralr/seed3"
    assert str(run_folder(changed, "baseline", 0)) == "cifar10-resnet20/baseline/seed0"


@given(st.text(), st.lists(st.floats(0.001, 1)), st.booleans())
def test_recipe_to_toml_round_trips(text, numbers, flag):
    values = {"description": text, "keep": numbers, "flip": flag}
    assert tomllib.loads(recipe_to_toml(values)) == values


def test_recipe_dict_round_trips():
    r = load_recipe("tiny-imagenet-resnet110")
    assert recipe_from_dict(r.to_dict(), "x") == r
    assert isinstance(r, Recipe)
