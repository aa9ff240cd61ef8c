from pathlib import Path

import pytest

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.study.grid import compare_with, select_cells
from ralr_viz.study.grid_file import build_study, load_study, study_names

TABLES = [name for name in study_names() if name.startswith("table")]
PAPER = [name for name in TABLES if not name.endswith("-laptop")]
AXES = [
    {"name": "Model", "values": [{"label": "20", "recipe": "cifar10-resnet20"}, {"label": "56", "recipe": "cifar10-resnet56"}]},
    {"name": "Method", "values": [{"label": "B", "method": "baseline"}, {"label": "R", "method": "ralr"}]},
]  # fmt: skip
GRID = {"axes": AXES, "table": {"rows": ["Model"], "columns": ["Method"], "reference": {"Method": "B"}}}


def make(**changes):
    return build_study(GRID | changes, "mine", "mine.toml")


def cell(name, **labels):
    found = [c for c in load_study(name).cells if c.labels.items() >= labels.items()]
    assert len(found) == 1
    return found[0]


def test_study_names_pair_each_table_with_a_laptops():
    numbers = ("1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert sorted(TABLES) == sorted(f"table{n}{end}" for n in numbers for end in ("", "-laptop"))
    assert set(study_names()) - set(TABLES) == {"decide", "planted"}


@pytest.mark.parametrize("name", TABLES)
def test_packaged_table_has_four_seeds_and_compares_each_cell_with_a_baseline(name):
    study = load_study(name)
    assert study.seeds == ((0, 1, 2) if name == "table5-laptop" else (0, 1, 2, 3))
    assert study.title.startswith(f"Table {name[5]}")
    for c in study.cells:
        if c.reference is not None:
            reference = study.cells[c.reference]
            assert reference.method == "baseline"
            assert reference.reference is None
    assert sum(c.reference is None for c in study.cells) < len(study.cells)


@pytest.mark.parametrize("name", [name for name in PAPER if name != "table5"])
def test_paper_study_trains_as_the_paper_does(name):
    epochs = {"table3": 95, "table4": 232}.get(name, 300)
    for c in load_study(name).cells:
        assert (c.recipe.epochs, c.recipe.validation, c.recipe.subset) == (epochs, 0, 0)
        if name == "table4":
            assert (c.recipe.model, c.recipe.batch, c.recipe.lr) == ("ssd300", 8, 0.001)
            continue
        if name == "table3":
            assert (c.recipe.model, c.recipe.batch) == ("torchvision:resnet50", 64)
            continue
        assert c.recipe.dataset == ("cifar10" if name == "table1" else "cifar100")
        assert c.recipe.batch == (64 if c.recipe.model.startswith("densenet") else 128)


def test_paper_numbers_are_those_of_the_paper():
    """One number of each table, read off the paper's text."""
    assert cell("table1", Model="WRN-28-10", Method="RALR").paper == (96.36, 0.03)
    assert cell("table2", Model="DenseNet-BC-100-12", Method="Baseline").paper == (77.22, 0.15)
    assert cell("table3", Data="Stanford Dogs", Method="RALR").paper == (84.72, 0.13)
    assert cell("table4", Method="RALR").paper == (77.7, None)
    assert cell("table5", BLEU="international, uncased", Method="RALR").paper == (26.7, None)
    assert cell("table6", Optimizer="Adagrad", Method="RALR").paper == (65.01, 0.86)
    assert cell("table7", Technique="CutMix", Model="ResNet-110", Method="RALR").paper == (78.52, 0.07)
    assert cell("table8", Range="[3, 7]").paper == (71.79, 3.01)
    assert cell("table9", Probability="0.3", Range="[2, 5]").paper == (73.98, 1.36)
    counts = {name: sum(c.paper is not None for c in load_study(name).cells) for name in PAPER}
    assert counts == {
        "table1": 8,
        "table2": 10,
        "table3": 6,
        "table4": 2,
        "table5": 8,
        "table6": 8,
        "table7": 20,
        "table8": 10,
        "table9": 9,
    }


def test_paper_numbers_agree_where_tables_repeat_a_training():
    published = {}
    for name in PAPER:
        for c in load_study(name).cells:
            if c.paper is not None:
                assert published.setdefault((c.folder, c.recipe.scored_by), c.paper) == c.paper


def test_settings_of_section_5_are_in_the_cells():
    adam = cell("table6", Optimizer="Adam", Method="RALR").recipe
    assert (adam.optimizer, adam.lr, adam.momentum, adam.milestone_epochs) == ("adam", 0.001, 0.0, (150,))
    sgd = cell("table6", Optimizer="SGD", Method="Baseline").recipe
    assert (sgd.lr, sgd.momentum, sgd.nesterov, sgd.milestone_epochs) == (0.1, 0.0, False, (150, 225))
    cut = cell("table7", Technique="CutMix", Model="ResNet-56", Method="RALR").recipe
    assert (cut.cutmix, cut.cutmix_alpha, cut.mixup, cut.cutout, cut.label_smoothing) == (0.5, 1, 0, 0, 0)
    nine = cell("table9", Probability="0.3", Range="[2, 5]").recipe
    assert (nine.probability, nine.low, nine.high) == (0.3, 2, 5)


def test_baselines_of_table_2_serve_tables_6_to_9():
    runs = {name: {c.folder for c in load_study(name).cells} for name in PAPER}
    baseline = Path("cifar100-resnet110/baseline")
    assert all(baseline in runs[name] for name in ("table2", "table6", "table7", "table8", "table9"))
    assert (
        Path("cifar100-resnet110/ralr") in runs["table6"] & runs["table7"] & runs["table8"] & runs["table9"]
    )


def test_runs_of_the_diagnostics_serve_the_laptop_tables():
    for name in ("table1-laptop", "table8-laptop", "table9-laptop"):
        folders = {c.folder for c in load_study(name).cells}
        assert {Path("cifar10-resnet20-tiny/baseline"), Path("cifar10-resnet20-tiny/ralr")} <= folders


def test_build_study_makes_the_product_in_the_order_of_the_axes():
    study = make()
    assert [c.name for c in study.cells] == ["20, B", "20, R", "56, B", "56, R"]
    assert [c.reference for c in study.cells] == [None, 0, None, 2]
    assert (study.rows, study.columns) == (("Model",), ("Method",))
    assert study.directory(Path("r"), study.cells[3], 7) == Path("r/cifar10-resnet56/ralr/seed7")


def test_build_study_leaves_out_what_is_excluded():
    study = make(exclude=[{"Model": ["56"], "Method": "B"}])
    assert [c.name for c in study.cells] == ["20, B", "20, R", "56, R"]
    assert [c.reference for c in study.cells] == [None, 0, None]  # its reference is left out


def test_build_study_gives_later_axes_and_overrides_the_last_word():
    values = GRID | {"base": {"epochs": 5, "lr": 0.5}}
    values["axes"] = [
        AXES[0],
        {"name": "Method", "values": [{"label": "B", "method": "baseline", "lr": 0.2}]},
    ]
    values["table"] = {}
    recipe = build_study(values, "mine", "mine.toml", ["epochs=7"]).cells[0].recipe
    assert (recipe.epochs, recipe.lr, recipe.batch) == (7, 0.2, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": []}, "unknown entry `axis`: did you mean `axes`"),
        ({"axes": []}, "`mine.toml`: `axes` must be a list of tables, at least one"),
        ({"axes": [{"name": "A"}]}, "`values of axis A` must be a list"),
        ({"axes": [AXES[0], AXES[0]]}, "needs a `name` of its own"),
        ({"axes": [AXES[0] | {"values": [{"recipe": "x"}]}]}, "needs a `label` of its own"),
        ({"axes": [AXES[0]], "table": {}}, "`mine.toml: 20` has no `method`"),
        ({"base": {"batchsize": 5}}, "unknown recipe setting `batchsize`: did you mean `batch`"),
        ({"base": {"batch": "big"}}, r"`batch` = 'big' must be of type int"),
        ({"table": {"rows": ["Model"], "columns": ["Model"]}}, "must name each axis once"),
        ({"table": {"row": ["Model"]}}, "unknown entry of \\[table\\] `row`"),
        ({"table": GRID["table"] | {"reference": {"Method": "X"}}}, "unknown label of axis `Method` `X`"),
        ({"exclude": [{"Modell": "20"}]}, "unknown axis `Modell`: did you mean `Model`"),
        ({"exclude": [{"Model": ["20", "56"]}]}, "excludes every cell"),
        ({"paper": [{"Model": "20", "Method": "B"}]}, "needs `mean`"),
        ({"paper": [{"Model": ["20"], "Method": "B", "mean": 1.0}]}, "unknown label of axis `Model`"),
        ({"exclude": [{"Model": [["20"]]}]}, "unknown label of axis `Model`"),
        ({"table": {"rows": [1], "columns": []}}, "must name each axis once"),
        ({"table": {"rows": [["Model"]], "columns": ["Method"]}}, "must name each axis once"),
        ({"table": {"reference": {"Method": ["B"]}}}, "unknown label of axis `Method`"),
        ({"axes": [AXES[0], {"name": "M", "values": [{"label": "x", "method": "ralr"}, {"label": "y", "method": "ralr"}]}], "table": {}}, "cells `20, x` and `20, y` are the same training"),
        ({"paper": [{"Model": "20", "mean": 90.0}]}, "names 2 cells, not one"),
        ({"seeds": [0, 0]}, "must be 1 to 10,000 different integers"),
        ({"seeds": [True]}, "must be 1 to 10,000 different integers"),
        ({"seeds": [-1]}, "`seed` = -1"),
        ({"title": 3}, "`title` = 3 must be a text"),
    ],
)  # fmt: skip
def test_build_study_refuses_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_build_study_refuses_a_grid_beyond_measure():
    axes = [
        {"name": f"A{i}", "values": [{"label": str(j)} for j in range(50)]} for i in range(3)
    ]  # 125,000 cells
    with pytest.raises(InputError, match="more than 100,000 cells"):
        build_study({"axes": axes}, "mine", "mine.toml")


def test_load_study_reads_a_users_file_and_refuses_what_is_none(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[axes]]\nname = "M"\nvalues = [{label = "x", recipe = "digits-resnet20", method = "ralr"}]\n'
    )
    study = load_study(file)
    assert (study.name, study.title, len(study.cells), study.rows) == ("mine", "mine", 1, ("M",))
    file.write_text("axes = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(InputError, match="is not valid TOML: it nests deeper than 64 levels"):
        load_study(file)
    file.write_text("axes = [")
    with pytest.raises(InputError, match="is not valid TOML"):
        load_study(file)
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        load_study(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path / "none.toml")
    with pytest.raises(UnknownNameError, match="did you mean `table1`"):
        load_study("tabel1")


def test_select_cells_keeps_what_a_chosen_cell_is_compared_with():
    study = select_cells(make(), ["Model=56", "Method=R"])
    assert [c.name for c in study.cells] == ["56, B", "56, R"]
    assert [c.reference for c in study.cells] == [None, 0]
    assert len(select_cells(make(), ["Model=20,56"]).cells) == 4


def test_select_cells_takes_a_label_with_a_comma_whole():
    study = select_cells(load_study("table8-laptop"), ["Range=[1, 3]"])
    assert [c.labels["Range"] for c in study.cells] == ["none (baseline)", "[1, 3]"]


@pytest.mark.parametrize(
    ("only", "message"),
    [("Model", "has no `=`"), ("Modell=20", "unknown axis `Modell`"), ("Model=21", "unknown label")],
)
def test_select_cells_refuses_in_one_line(only, message):
    with pytest.raises(InputError, match=message):
        select_cells(make(), [only])


def test_override_of_what_an_axis_sets_is_refused_and_others_are_said():
    study = load_study("table9-laptop", ["epochs=2"])
    assert study.note.startswith("Not as published: epochs = 2 by --set. 8,000 images")
    with pytest.raises(InputError, match="`--set probability`: axis `Probability` of table9-laptop sets it"):
        load_study("table9-laptop", ["probability=0.3"])


def test_compare_with_takes_another_reference():
    study = compare_with(make(), ["Method=R"])
    assert [c.reference for c in study.cells] == [1, None, 3, None]
    for labels, message in (
        (["Method"], "has no `=`"),
        (["Method=B,R"], "names 2 labels"),
        (["X=B"], "unknown axis"),
    ):
        with pytest.raises(InputError, match=message):
            compare_with(make(), labels)


def test_with_seeds_checks_them():
    assert make().with_seeds([5]).seeds == (5,)
    with pytest.raises(InputError, match="`seeds` of --seeds"):
        make().with_seeds([])
