import dataclasses
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.data.split import split_train
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.recipe import (
    METHODS,
    RECIPE_VERSION,
    Recipe,
    changed_settings,
    load_recipe,
    recipe_class,
    recipe_from_dict,
    recipe_names,
    recipe_to_toml,
    run_folder,
)
from ralr_viz.recipe.rules import SCHEDULES
from ralr_viz.results.tasks import TASKS, classifies
from ralr_viz.train.optim import preview_lr

LAPTOP = ("-short", "-tiny", "-10k")
FINE_GRAINED = ("cub-resnet50", "cub-resnet50-head10", "cars-resnet50", "dogs-resnet50")
SHORT = {
    **{
        "cub-200-2011": "cub",
        "stanford-cars": "cars",
        "stanford-dogs": "dogs",
        "efficientnet_lite0": "lite0",
        "voc0712": "voc",
    },
}
IMAGES = [n for n in recipe_names() if classifies(load_recipe(n).to_dict())]
PAPER = [
    n
    for n in IMAGES
    if not n.endswith(LAPTOP) and n not in ("digits-resnet20", "planted-resnet20", *FINE_GRAINED)
]


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipe_has_the_numbers_of_section_5(name):
    r = load_recipe(name)
    assert (r.epochs, r.lr, r.momentum, r.nesterov, r.weight_decay) == (300, 0.1, 0.9, True, 1e-4)
    assert (r.milestone_epochs, r.gamma) == ((150, 225), 0.1)
    assert (r.low, r.high, r.probability, r.interval) == (1, 3, 0.5, 1)
    assert (r.crop_padding, r.flip, r.validation) == (4, True, 0)
    assert r.batch == (64 if "densenet" in name else 128)
    assert {200, 300} <= r.kept_epochs


@pytest.mark.parametrize("name", FINE_GRAINED)
def test_fine_grained_recipe_has_the_numbers_of_section_5(name):
    r = load_recipe(name)
    assert (r.epochs, r.lr, r.milestone_epochs, r.validation) == (95, 0.001, (30, 60, 90), 0)
    assert (r.weights, r.input_size, r.resize, r.flip) == ("IMAGENET1K_V1", 448, 512, True)
    assert r.head_lr == (10 if name.endswith("head10") else 1)


@pytest.mark.parametrize(
    "name", [n for n in recipe_names() if n.endswith("-short") and not n.startswith("cub10")]
)
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
        ends = (*LAPTOP, "-head10") if name in IMAGES else ()
        plain = next((name.removesuffix(s) for s in ends if name.endswith(s)), name)
        dataset = SHORT.get(r.dataset, r.dataset.removesuffix("-en-de"))
        assert plain == f"{dataset}-{SHORT.get(r.model, r.model.removeprefix('torchvision:'))}"
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
        ("cutout=-1", r"`cutout` = -1 must be in \[0, 1024\] pixels"),
        ("mixup=-0.1", r"`mixup` = -0.1 must be in \[0, 1000\]"),
        ("mixup=inf", "`mixup` = inf must be in"),
        ("cutmix=1.5", r"`cutmix` = 1.5 must be in \[0, 1\]: the probability that a batch is cut"),
        ("cutmix_alpha=0", r"`cutmix_alpha` = 0.0 must be in \(0, 1000\]"),
        ("label_smoothing=1", r"`label_smoothing` = 1.0 must be in \[0, 1\)"),
        ("label_smoothing=nan", "`label_smoothing` = nan must be in"),
        (
            "schedule=warm",
            "`schedule` = 'warm' must be one of multistep, cosine, constant, sgdr, cyclical, one",
        ),
        ("restart_epochs=1.5", "`restart_epochs` = 1.5 must be epochs in .* or fractions of the training"),
        (
            "restart_epochs=half",
            "`restart_epochs` = 'half' must be of type float, e.g. --set restart_epochs=0.1",
        ),
        ("cycle=301", r"`cycle` = 301 must be epochs in \[1, 300\] or fractions"),
        ("restart_factor=0", "`restart_factor` = 0 must be in"),
        ("lr_floor=0", r"`lr_floor` = 0.0 must be in \(0, 1\]"),
        ("amplify_from=1", r"`amplify_from` = 1.0 must be a share of the training in \[0, 1\)"),
        ("amplify_from=-0.1", "`amplify_from` = -0.1 must be a share of the training"),
        ("amplify_from=nan", "`amplify_from` = nan must be a share of the training"),
        ("amplify_from=0.999", "`amplify_from` = 0.999 must be small enough to leave one of .* 300 epochs"),
        ("threads=-1", r"`threads` = -1 must be in \[0, 1024\]"),
        ("evaluate_test=never", "`evaluate_test` = 'never' must be one of epoch, end"),
        ("evaluate_unused=always", "`evaluate_unused` = 'always' must be one of never, end"),
        ("evaluate_unused=end", "`evaluate_unused` = 'end' must be never without `subset`"),
        ("noise_pct=1", r"`noise_pct` = 1.0 must be in \(0, 1\), so that the learning rate stays positive"),
        ("noise_range=0.5", "`noise_range` = .* must be two rising shares of the training"),
        ("noise_range=0.7,0.3", "`noise_range` = .* must be two rising shares"),
        (
            "noise_range=0,0.001",
            "`noise_range` = .* must be wide enough for one of the training's 300 epochs",
        ),
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


def test_only_the_key_of_noise_changed_when_its_first_epoch_lost_its_noise():
    """Runs of the key that it had before trained their first epoch otherwise; all other runs stay valid."""
    r = load_recipe("cifar10-resnet20-tiny")
    assert RECIPE_VERSION == 1
    assert {m: r.key(m) for m in METHODS if m != "noise"} == dict.fromkeys(
        ("baseline", "ralr", "scaled", "matched"), "c0cc93c7"
    )
    assert r.key("noise") == "3e9a62b8"


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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["mixup=1", "cutmix=0.5"], "`cutmix` = 0.5 must be 0 beside `mixup` = 1.0: only one may mix"),
        (["schedule=onecycle", "epochs=4"], "`epochs` = 4 must be at least 5 with schedule=onecycle"),
        (["schedule=sgdr", "restart_epochs=1"], "`restart_epochs` = 1 must be 2 epochs or more of the .* 20"),
        (["schedule=cyclical", "cycle=0.05"], "`cycle` = 0.05 must be 2 epochs or more of the training's 20"),
    ],
)
def test_load_recipe_refuses_settings_that_do_not_go_together(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("cifar10-resnet20", ["epochs=20", "keep=1.0", *overrides])
    assert "\n" not in str(caught.value)


def test_new_settings_are_off_by_default_and_change_the_key_when_on():
    r = load_recipe("cifar10-resnet110")
    off = {"cutout": 0, "mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0, "schedule": "multistep"}
    assert {name: getattr(r, name) for name in off} == off
    changes = (
        {"cutout": 8}, {"mixup": 1.0}, {"cutmix": 0.5}, {"cutmix_alpha": 0.5}, {"label_smoothing": 0.1},
        {"schedule": "sgdr"}, {"restart_epochs": 30}, {"restart_factor": 2}, {"schedule": "cyclical"},
        {"cycle": 30}, {"lr_floor": 0.1}, {"schedule": "onecycle"},
    )  # fmt: skip
    for method in METHODS:
        keys = {dataclasses.replace(r, **change).key(method) for change in changes}
        assert len(keys | {r.key(method)}) == len(changes) + 1


def test_key_of_each_method_ignores_the_factors_of_the_others():
    r = load_recipe("cifar10-resnet110")
    noisy = dataclasses.replace(r, noise_pct=0.5, noise_range=(0.2, 0.9))
    loud = dataclasses.replace(r, low=2.0, high=5.0, probability=0.3, draw="integer", interval=2)
    same = {"noise": [m for m in METHODS if r.key(m) == noisy.key(m)]}
    same["amplification"] = [m for m in METHODS if r.key(m) == loud.key(m)]
    assert same == {
        "noise": ["baseline", "ralr", "scaled", "matched"],
        "amplification": ["baseline", "noise"],
    }


def test_mask_and_threads_change_the_key_and_the_scoring_does_not():
    r = load_recipe("cifar10-resnet20-10k")
    masked = {m for m in METHODS if dataclasses.replace(r, amplify_from=0.1).key(m) != r.key(m)}
    assert masked == {"ralr", "scaled", "matched"}
    assert (
        dataclasses.replace(r, amplify_from=0.001).key() == r.key()
    )  # before the first of 100 epochs: no mask
    assert dataclasses.replace(r, amplify_from=0.101).key() == dataclasses.replace(r, amplify_from=0.1).key()
    for method in METHODS:
        plain = dataclasses.replace(r, evaluate_test="epoch", evaluate_unused="never")
        assert plain.key(method) == r.key(method)
        assert dataclasses.replace(r, threads=2).key(method) != r.key(method)


def test_recipe_of_the_deciding_study_is_pinned():
    """Its runs take days; whatever changes this key makes them another study."""
    r = load_recipe("cifar10-resnet20-10k")
    assert {m: r.key(m) for m in ("baseline", "ralr", "matched")} == dict.fromkeys(
        ("baseline", "ralr", "matched"), "46d9f938"
    )
    assert (r.epochs, r.milestone_epochs, r.subset, round(r.subset * r.validation)) == (
        100,
        (50, 75),
        12_000,
        2_000,
    )
    assert (r.precision, r.threads, r.keep_every) == ("bf16", 1, 1)
    assert (r.evaluate_test, r.evaluate_unused) == ("end", "end")


def test_key_is_of_the_epochs_however_they_are_written():
    r = load_recipe("cifar10-resnet110")
    for name in ("restart_epochs", "cycle"):
        written = [dataclasses.replace(r, **{name: value}).key() for value in (0.1, 30, 0.2)]
        assert written[0] == written[1] != written[2]
        assert dataclasses.replace(r, **{name: 75}).key() == r.key()  # the default, 0.25 of 300
    halves = [dataclasses.replace(r, noise_range=v).key("noise") for v in ((0, 0.5), (0.0, 0.5), (0, 1))]
    assert halves[0] == halves[1]
    assert halves[2] == r.key("noise")


def test_changed_settings_of_a_method_leaves_out_those_of_the_others():
    r = load_recipe("cifar10-resnet110")
    now = dataclasses.replace(r, noise_pct=0.5, high=5.0, mixup=1.0)
    before, after = r.to_dict(), now.to_dict()
    assert changed_settings(before, after, "noise") == ["noise_pct", "mixup"]
    assert changed_settings(before, after, "ralr") == ["high", "mixup"]
    assert changed_settings(before, after, "baseline") == ["mixup"]


def test_recipe_with_every_new_setting_round_trips_through_toml():
    r = load_recipe("cifar10-resnet20", ["cutmix=0.5", "noise_range=0,0.5", "cycle=0.5", "restart_epochs=9"])
    values = tomllib.loads(recipe_to_toml(r.to_dict()))
    assert recipe_from_dict(values, "x") == r
    assert (r.cutmix, r.noise_range, r.cycle, r.restart_epochs) == (0.5, (0, 0.5), 0.5, 9)
    assert isinstance(r.restart_epochs, int)


def test_rules_has_every_field():
    for recipe in (Recipe, *(recipe_class(name) for name in TASKS)):
        assert set(recipe.rules) == {field.name for field in dataclasses.fields(recipe)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split_seed=-1", r"`split_seed` = -1 must be in \[0, 2\^63\)"),
        (f"split_seed={2**63}", r"`split_seed` = 9223372036854775808 must be in \[0, 2\^63\)"),
        (f"batch={2**63}", r"`batch` = 9223372036854775808 must be in \[1, 1000000000\]"),
        (f"lr={10**400}", "`lr` = 1000.*… must be of type float"),
        ("lr=1e31", "`lr` = 1e[+]31 must be a positive, finite number, at most"),
        ("milestones=1,2,3,4,5,6", "`gamma` = 1000000.0 must be such that the learning rate stays below"),
        ("train_sample=0", r"`train_sample` = 0 must be in \[1, "),
        (f"description={'x' * 20_000}", "`description` = 'xxx.*… must be a text of 0 to 10000 characters"),
        (f"lr={'9' * 5000}", "`lr` = '999.*… must be of type float"),
        (f"milestones={'[' * 5000}{']' * 5000}", r"`milestones` = \('.*… must be of type tuple"),
    ],
)
def test_load_recipe_refuses_what_a_training_would_stumble_over(override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("cifar10-resnet20", ["gamma=1e6", override] if "milestones=1" in override else [override])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("changes", [{"epochs": "many"}, {"lr": None}, {"flip": 1}, {"milestones": ("a",)}])
def test_recipe_of_python_values_is_checked_like_one_of_a_file(changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"`{name}` = .* must be of type"):
        dataclasses.replace(load_recipe("cifar10-resnet20"), **changes)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000, "[" + "a." * 5000 + "b]"]
)
def test_load_recipe_refuses_toml_that_python_cannot_take(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match="`.*mine.toml` is not valid TOML: ") as caught:
        load_recipe(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**400])
    | st.floats()
    | st.floats(0, 1)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
SMALL = {"dataset": "d", "model": "resnet20", "epochs": 12, "batch": 8, "lr": 0.1}


def check_field(name, value):
    """Whatever stands in a field: refused in one line that names it, or a recipe whose schedule can be computed."""
    try:
        recipe = recipe_from_dict({**SMALL, name: value}, "x")
    except InputError as error:
        assert "\n" not in str(error) and "`" in str(error) and len(str(error)) < 600
        return
    assert recipe_from_dict(tomllib.loads(recipe_to_toml(recipe.to_dict())), "x") == recipe
    split_train(np.arange(40) % 2, validation=0.1, seed=recipe.split_seed)
    for method in METHODS:
        recipe.key(method)
        if recipe.epochs <= 100 and not recipe.moves_each_step:
            base, factor = preview_lr(recipe, method, 3)
            assert np.isfinite(base * factor).all()


@pytest.mark.filterwarnings("ignore:`low` is")
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
@settings(max_examples=15)
@given(value=ANYTHING)
def test_recipe_field_of_any_value_is_refused_in_one_line_or_works(name, value):
    check_field(name, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`low` is")
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(max_examples=100)
@given(value=ANYTHING)
def test_recipe_field_of_any_value_holds_for_many_values_and_schedules(name, schedule, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SMALL, "schedule", schedule)
        check_field(name, value)
