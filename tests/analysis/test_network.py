"""Networks that return more than logits, or are compiled or scripted: the same answer everywhere, or one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.activations import compute_activations
from ralr_viz.analysis.barrier import compute_barrier
from ralr_viz.analysis.cam.check import verify_cam
from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.landscape import compute_landscape
from ralr_viz.analysis.localisation.faithfulness import measure_faithfulness
from ralr_viz.analysis.localisation.sanity import randomise_cascade
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.analysis.sharpness import compute_sharpness
from ralr_viz.analysis.similarity import compute_similarity
from ralr_viz.analysis.spectrum import compute_spectrum
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import count_labelled, find_logits
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.classification.evaluate import evaluate

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
SCALE: dict[str, Any] = {"mean": MEAN, "std": STD}
CPU = Runtime(torch.device("cpu"), "fp32")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(12) % 4

Measure = Callable[[nn.Module], Any]


class Plain(nn.Module):
    """Six features and four logits, of which ``returned`` says what is given back."""

    def __init__(self, returned: Callable[[Tensor, Tensor], Any] = lambda features, logits: logits) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(6, 6, 3, stride=2, padding=1), nn.ReLU())
        self.linear = nn.Linear(6, 4)
        self.returned = returned

    def forward(self, x: Tensor) -> Any:
        features = self.last(self.first(x)).mean((2, 3))
        return self.returned(features, self.linear(features))


def on_device(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)


def seen_by(*models: nn.Module) -> Comparison:
    return compare(list(models), images=IMAGES, labels=LABELS, device="cpu", **SCALE)


CLASSIFYING: dict[str, Measure] = {
    "eval": lambda m: evaluate(m, IMAGES, LABELS, on_device(MEAN), on_device(STD), CPU).loss,
    "predictions": lambda m: compute_predictions(seen_by(m))[0].logits,
    "cam": lambda m: explain(m, IMAGES, targets=LABELS, **SCALE).raw,
    "gradcam": lambda m: explain(m, IMAGES, targets=LABELS, method="gradcam++", **SCALE).raw,
    "verify": lambda m: verify_cam(m, IMAGES, targets=LABELS, **SCALE).cam.raw,
    "faithfulness": lambda m: measure_faithfulness(seen_by(m), 0, np.ones((12, 2, 2)), steps=2).gains,
    "cascade": lambda m: randomise_cascade(seen_by(m), 0).spearman,
    "barrier": lambda m: compute_barrier(seen_by(m, m), points=3).losses,
    "sharpness": lambda m: compute_sharpness(seen_by(m)).measures()[0].values,
    "spectrum": lambda m: compute_spectrum(seen_by(m)).measures()[0].values,
    "landscape": lambda m: compute_landscape(seen_by(m), points=3).losses,
}
LOOKING: dict[str, Measure] = {
    "activations": lambda m: compute_activations(seen_by(m, m)).counts,
    "similarity": lambda m: compute_similarity(seen_by(m, m), minibatch=6).cross,
}


@pytest.fixture(scope="module", params=CLASSIFYING)
def measure(request: pytest.FixtureRequest) -> Measure:
    return CLASSIFYING[request.param]


@pytest.mark.parametrize(
    "returned",
    [
        lambda f, z: (f, z),
        lambda f, z: [z, f],
        lambda f, z: {"features": f, "scores": z},
        lambda f, z: {"loss": z.sum(), "features": z.flip(1), "logits": z},
        lambda f, z: (z.argmax(1), f[:, :, None, None], z),
    ],
    ids=["features-logits", "logits-features", "dict", "named", "one-of-two-dimensions"],
)
def test_the_output_as_wide_as_the_classes_is_meant(measure: Measure, returned: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(measure(Plain(returned)), measure(Plain()))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda f, z: (z, z * 2), "2 outputs, 4 and 4 wide, 2 of them for 4 classes"),
        (lambda f, z: (f, f[:, :3]), "2 outputs, 6 and 3 wide, none of them for 4 classes"),
        (lambda f, z: z[:, :1], "one logit"),
        (lambda f, z: f[:, :, None], "logits of shape"),
    ],
    ids=["twins", "none", "one-logit", "three-dimensions"],
)
def test_no_output_is_guessed(measure: Measure, returned: Callable[..., Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        measure(Plain(returned))
    assert "\n" not in str(refused.value)


def test_class_names_tell_the_number_of_classes() -> None:
    model, names = Plain(lambda f, z: (f, z)), ("a", "b", "c", "d")
    two: dict[str, Any] = {"images": IMAGES[:2], "labels": LABELS[:2], **SCALE}
    (some,) = compute_predictions(compare([model], class_names=names, **two))
    assert some.logits.shape == (2, 4)
    with pytest.raises(InputError, match="2 outputs, 6 and 4 wide, none of them for 2 classes"):
        compute_predictions(compare([model], **two))
    with pytest.raises(InputError, match="how many classes there are is not known"):
        explain(model, IMAGES, **SCALE)


def test_looking_leaves_the_output_of_the_network_as_it_was() -> None:
    model = Plain(lambda f, z: (f, z))
    compute_predictions(seen_by(model))
    assert isinstance(model(torch.zeros(1, 3, 16, 16)), tuple) and not model._forward_hooks


def test_count_labelled_needs_every_class() -> None:
    assert count_labelled(np.array([2, 0, -1, 1, 0])) == 3
    assert count_labelled(torch.tensor([0, 2])) is None
    assert count_labelled(np.array([-1, -1])) is None


def test_find_logits_of_another_width_is_an_input_error() -> None:
    with pytest.raises(InputError, match="an output 6 wide, none of them for 4 classes"):
        find_logits(torch.zeros(2, 6), 4)


@pytest.mark.parametrize("wrap", ["whole", "in-place", "part"])
@pytest.mark.parametrize("name", [*CLASSIFYING, *LOOKING])
def test_a_compiled_network_answers_as_the_plain_one_every_time(name: str, wrap: str) -> None:
    measure, model = (CLASSIFYING | LOOKING)[name], Plain()
    expected = measure(Plain())
    if wrap == "part":
        if name == "similarity":
            pytest.skip("the blocks of a compiled stage are one layer")
        model.last = torch.compile(model.last, backend="eager")
    elif wrap == "in-place":
        model.compile(backend="eager")
    compiled = torch.compile(model, backend="eager") if wrap == "whole" else model
    with torch.no_grad():
        compiled(torch.zeros(12, 3, 16, 16))
    for _ in range(2):
        np.testing.assert_array_equal(measure(compiled), expected)


@pytest.mark.parametrize("name", [name for name in [*CLASSIFYING, *LOOKING] if name != "eval"])
def test_torchscript_is_refused_in_one_line(name: str) -> None:
    with pytest.warns(Warning):  # torch's own: it is deprecated
        scripted = torch.jit.trace(Plain(), torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match=r"TorchScript.*pass the `nn\.Module`") as refused:
        (CLASSIFYING | LOOKING)[name](scripted)
    assert "\n" not in str(refused.value)
