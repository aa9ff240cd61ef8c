from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models import build_model, model_names


def test_model_names_are_in_the_order_of_their_families() -> None:
    assert model_names() == (
        *("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        *("wrn-28-10", "densenet-bc-100-12", "efficientnet_lite0"),
    )


def _message(arch: str, num_classes: int = 3, *, allow_import: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        build_model(arch, num_classes, allow_import=allow_import)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_build_model_offers_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown model `wrn28-10`: did you mean `wrn-28-10`"):
        build_model("wrn28-10", 10)
    assert "(`torchvision:resnet18` is torchvision's)" in _message("resnet18")
    assert _message("torchvision:resnet19").startswith(
        "unknown torchvision model `resnet19`: did you mean `resnet18`"
    )


@pytest.mark.parametrize("num_classes", [0, -1])
def test_build_model_rejects_no_classes(num_classes: int) -> None:
    assert _message("resnet20", num_classes).startswith(f"`num_classes` is {num_classes}: ")


def test_build_model_builds_torchvision_classifiers_untrained_and_offline() -> None:
    with torch.device("meta"):
        model = build_model("torchvision:resnet18", 50)
    assert model.fc.out_features == 50


def test_build_model_leaves_out_detectors() -> None:
    # They would download a backbone and return no logits.
    assert "unknown torchvision model" in _message("torchvision:fasterrcnn_resnet50_fpn")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_build_model_builds_no_auxiliary_classifiers(name: str) -> None:
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("error")
        model = build_model(f"torchvision:{name}", 5)
        assert model.train()(torch.empty(2, 3, 299, 299)).shape == (2, 5)


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of a user who has a module of their own."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("usernet"):
            del sys.modules[name]


def test_build_model_finds_a_factory_in_the_current_folder(user_folder: Path) -> None:
    (user_folder / "usernet.py").write_text(
        "from torch import nn\ndef small(num_classes):\n    return nn.Linear(4, num_classes)\n"
    )
    path = list(sys.path)
    model = build_model("usernet:small", 3, allow_import=True)
    assert isinstance(model, nn.Linear)
    assert model.out_features == 3
    assert sys.path == path


def test_build_model_finds_a_factory_in_a_package(user_folder: Path) -> None:
    (user_folder / "usernets").mkdir()
    (user_folder / "usernets" / "small.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self, num_classes):\n"
        "        super().__init__(2, num_classes)\n"
    )
    assert build_model("usernets.small:Net", 3, allow_import=True).out_features == 3


def test_build_model_never_imports_unless_allowed(user_folder: Path) -> None:
    (user_folder / "usernet.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    assert "pass `--arch usernet:net`" in _message("usernet:net", allow_import=False)
    assert not (user_folder / "executed").exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", "`usernet:net` cannot be imported: AttributeError: module 'usernet' has no attribute 'net'"),
        ("raise OSError('two\\nlines')", "`usernet:net` cannot be imported: OSError: two lines"),
        ("import sys; sys.exit(2)", "`usernet:net` cannot be imported: SystemExit: 2"),
        ("def net(: pass", "`usernet:net` cannot be imported: SyntaxError: "),
        ("def net(): pass", "`usernet:net` returned a NoneType: a factory returns a torch.nn.Module"),
        ("def net(classes): pass", "`usernet:net` failed: `net()` raised TypeError: "),
        ("def net(num_classes): 1 / 0", "raised ZeroDivisionError: division by zero"),
        (
            "def net(num_classes): return 'x'",
            "`usernet:net` returned a str: a factory returns a torch.nn.Module",
        ),
        ("net = None", "`net(num_classes=3)` raised TypeError: 'NoneType' object is not callable"),
    ],
)
def test_build_model_tells_in_one_line_what_a_factory_did(
    user_folder: Path, code: str, expected: str
) -> None:
    (user_folder / "usernet.py").write_text(code + "\n")
    assert expected in _message("usernet:net")


@pytest.mark.parametrize("arch", ["nosuchmodule:net", ":net", "usernet:"])
def test_build_model_rejects_a_module_that_is_not_there(user_folder: Path, arch: str) -> None:
    assert f"`{arch}` cannot be imported: " in _message(arch)
