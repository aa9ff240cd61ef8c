"""Class activation maps against the definition, the identity and the grad-cam package."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.analysis.cam.network_maps import closed_form_step, explain
from ralr_viz.analysis.head import find_cam_head
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models import build_model
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.wrn import WideResNet
from ralr_viz.results.cam import normalise_cam
from ralr_viz.runtime.device import Runtime

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
NETWORKS = {
    "resnet20": (lambda: build_model("resnet20", 7), "layer3"),
    "wrn": (lambda: WideResNet(10, 1, 7), "relu"),
    "densenet": (lambda: DenseNet(10, 12, 7), "relu"),
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth coloured blobs: not square, so that height and width cannot be confused."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :24]
    blobs = [
        [
            255 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / c)
            for a, b, c in rng.uniform([0, 0, 20], [32, 24, 200], (3, 3))
        ]
        for _ in range(12)
    ]
    return np.moveaxis(np.array(blobs), 1, 3).astype(np.uint8)


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request: pytest.FixtureRequest, images: np.ndarray) -> nn.Module:
    """A network after a few steps, so that its batch statistics and weights are not those of the start."""
    torch.manual_seed(0)
    model = NETWORKS[request.param][0]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = normalised(images), torch.arange(12) % 7
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.layer_of_the_map = NETWORKS[request.param][1]
    return model


def normalised(images: np.ndarray) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def peer(model: nn.Module, layer: str, x: Tensor, targets: np.ndarray) -> np.ndarray:
    """What `grad-cam` draws, on the memory format that the package uses."""
    model.eval()
    cam = GradCAM(model, [model.get_submodule(layer)])
    x = x.contiguous(memory_format=torch.channels_last)
    return cam(input_tensor=x, targets=[ClassifierOutputTarget(int(c)) for c in targets])


def test_explain_satisfies_the_identity_and_the_definition(
    device: str, trained: nn.Module, images: np.ndarray
) -> None:
    targets = np.arange(12) % 7
    cam = explain(trained, images, mean=MEAN, std=STD, targets=targets, device=device)
    assert (cam.method, cam.layer) == ("cam", trained.layer_of_the_map)
    trained.cpu()
    with torch.no_grad():
        logits = trained.eval()(normalised(images)).numpy()
    bias = trained.linear.bias.detach().numpy()[targets]
    # mean(CAM_c) + b_c = z_c (Zhou et al., equation 1)
    np.testing.assert_allclose(cam.raw.mean((1, 2)) + bias, logits[range(12), targets], rtol=1e-4, atol=1e-5)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    np.testing.assert_allclose(
        cam.target_probability, probabilities[range(12), targets], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(cam.prediction_probability, probabilities.max(1), rtol=1e-4, atol=1e-6)
    assert cam.prediction.tolist() == logits.argmax(1).tolist()
    assert cam.target.tolist() == targets.tolist()
    assert [a.dtype for a in (cam.raw, cam.target, cam.prediction)] == [np.float32, np.int64, np.int64]


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e-12])
def test_explain_is_drawn_like_grad_cam(trained: nn.Module, images: np.ndarray, scale: float) -> None:
    """Tiny classifier weights bring the maps to the size of grad-cam's eps of 1e-7."""
    targets = np.arange(12) % 7
    with torch.no_grad():
        saved = trained.linear.weight.clone()
        trained.linear.weight.mul_(scale)
    try:
        cam = explain(trained, images, mean=MEAN, std=STD, targets=targets)
        expected = peer(trained, cam.layer, normalised(images), targets)
    finally:
        trained.linear.weight.data.copy_(saved)
    ours = normalise_cam(cam.raw, (32, 24))
    assert abs(ours - expected).max() <= 1e-5
    assert expected.max() > 0.2
    if scale == 1e-12:
        # the test can fail: without the eps, or without the division by h·w, the picture is another
        assert abs(normalise_cam(cam.raw / scale, (32, 24)) - expected).max() > 0.02
        assert abs(normalise_cam(cam.raw * cam.raw[0].size, (32, 24)) - expected).max() > 0.02


def test_explain_through_grad_cam_gives_the_same_units(trained: nn.Module, images: np.ndarray) -> None:
    targets = np.arange(12) % 7
    closed = explain(trained, images, mean=MEAN, std=STD, targets=targets)
    gradient = explain(trained, images, mean=MEAN, std=STD, targets=targets, method="gradcam")
    assert (gradient.method, gradient.layer) == ("gradcam", closed.layer)
    np.testing.assert_allclose(gradient.raw, closed.raw, rtol=1e-4, atol=1e-5 * abs(closed.raw).max())
    np.testing.assert_allclose(gradient.target_probability, closed.target_probability, rtol=1e-5)
    assert gradient.notes == closed.notes


def test_explain_does_not_depend_on_the_batch(trained: nn.Module, images: np.ndarray) -> None:
    done: list[int] = []
    whole = explain(trained, images, mean=MEAN, std=STD)
    parts = explain(trained, images, mean=MEAN, std=STD, batch=5, progress=done.append)
    np.testing.assert_allclose(parts.raw, whole.raw, rtol=1e-4, atol=1e-4)
    assert done == [5, 10, 12]


def test_explain_explains_the_prediction_where_no_target_is_known(
    trained: nn.Module, images: np.ndarray
) -> None:
    targets = np.array([3, -1] * 6)
    cam = explain(trained, images, mean=MEAN, std=STD, targets=targets)
    assert cam.target.tolist() == np.where(targets < 0, cam.prediction, targets).tolist()
    none = explain(trained, images, mean=MEAN, std=STD)
    assert none.target.tolist() == none.prediction.tolist()
    np.testing.assert_array_equal(none.target_probability, none.prediction_probability)


def test_explain_in_bf16_sums_the_map_in_float32(trained: nn.Module, images: np.ndarray) -> None:
    exact = explain(trained, images, mean=MEAN, std=STD, targets=np.arange(12) % 7)
    cam = explain(trained, images, mean=MEAN, std=STD, targets=np.arange(12) % 7, precision="bf16")
    assert (cam.method, cam.raw.dtype) == ("cam", np.float32)
    assert (cam.raw.view(np.uint32) & 0xFFFF).any()  # more than bf16's bits
    assert 0 < abs(cam.raw - exact.raw).max() < 0.05 * abs(exact.raw).max()


def snapshot(model: nn.Module) -> list[object]:
    """Everything that a computation could leave behind; values as bytes, so that NaN equals NaN."""
    return [
        [(len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad)) for p in model.parameters()],
        [p.grad.numpy().tobytes() for p in model.parameters() if p.grad is not None],
        [v.numpy().tobytes() for v in model.state_dict().values()],
    ]


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_explain_leaves_no_trace(method: str, images: np.ndarray) -> None:
    model = WideResNet(10, 1, 7)
    model(normalised(images)).sum().backward()
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    before = snapshot(model)
    explain(model, images, mean=MEAN, std=STD, method=method)
    assert snapshot(model) == before
    nn.init.constant_(model.linear.bias, float("nan"))
    before = snapshot(model)
    with pytest.raises(InputError, match="not finite on 12 of 12 images: the checkpoint has diverged"):
        explain(model, images, mean=MEAN, std=STD, method=method)
    assert snapshot(model) == before


def test_explain_reads_a_read_only_memory_map_without_a_warning(images: np.ndarray) -> None:
    view = images.view()
    view.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(WideResNet(10, 1, 3), view, mean=MEAN, std=STD)


class Patches(nn.Module):
    """Conditions in the network that a probe of the first images cannot see."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.linear = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.mean((1, 2, 3)) > 1)[:, None]
        x = self.conv(x).relu()
        return self.linear(torch.where(bright, x.amax((2, 3)), x.mean((2, 3))))


def test_explain_falls_back_where_the_closed_form_fails_on_a_later_image(images: np.ndarray) -> None:
    model = Patches().eval()
    many = np.concatenate([images[:8], np.full_like(images[:1], 255)])
    assert find_cam_head(model, normalised(many[:8])) is not None
    assert find_cam_head(model, normalised(many)) is None
    assert explain(model, many[:8], mean=MEAN, std=STD).method == "cam"
    cam = explain(model, many, mean=MEAN, std=STD)
    assert (cam.method, cam.layer) == ("gradcam", "conv")


def test_explain_names_layer_reason_and_precision_of_the_fallback(images: np.ndarray) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(8), nn.Flatten(), nn.Linear(128, 4)
    )
    cam = explain(model, images, mean=MEAN, std=STD, precision="bf16")
    assert cam.layer == "2"
    assert cam.notes[:2] == (
        "Grad-CAM at layer `2`: the logits are no linear function of a globally averaged map",
        "Grad-CAM ran in fp32: it has no bf16 path",
    )


def test_explain_counts_zero_maps_and_notes_small_ones(images: np.ndarray) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    nn.init.constant_(model[4].weight[0].detach(), -1.0)
    nn.init.constant_(model[4].weight[1].detach(), 1.0)
    nn.init.constant_(model[0].bias, 5.0)
    cam = explain(model, images, mean=MEAN, std=STD, targets=np.array([0] * 5 + [1] * 7))
    assert cam.notes == (
        "the map has 6×5 positions: below 7×7 the picture is mostly interpolation",
        "5 of 12 maps are all zero: nothing in the image speaks for the target class",
    )
    assert (normalise_cam(cam.raw, (32, 24))[:5] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 3), np.float32)}, "takes uint8 RGB images"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, "takes uint8 RGB images"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "no images to look at"),
        ({"images": np.zeros((2, 1, 1, 3), np.uint8)}, "does not take 1×1 images"),
        ({"targets": np.array([0, 7])}, "target class 7 is outside the network's 7 classes"),
        ({"targets": np.array([-2, 0])}, "target class -2 is outside"),
        ({"targets": np.array([0])}, "one integer for each of the 2 images"),
        ({"targets": np.array([0.0, 1.0])}, "one integer for each"),
        ({"std": (0.1, 0.0, 0.1)}, "`std` = .* must be three positive numbers"),
        ({"mean": (0.1, 0.2)}, "`mean` = .* must be three numbers"),
        ({"batch": 0}, "`batch` = 0 must be at least 1"),
    ],
)
def test_explain_refuses(arguments: dict, message: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 7))
    valid = {"images": np.zeros((2, 8, 8, 3), np.uint8), "mean": MEAN, "std": STD}
    with pytest.raises(InputError, match=message) as caught:
        explain(model, **{**valid, **arguments})
    assert "\n" not in str(caught.value)


def test_explain_refuses_unknown_names_and_networks_without_maps(images: np.ndarray) -> None:
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(32 * 24 * 3, 2))
    with pytest.raises(InputError, match="`Sequential` has no module that returns a map"):
        explain(mlp, images, mean=MEAN, std=STD)
    with pytest.raises(UnknownNameError, match="did you mean `gradcam`"):
        explain(mlp, images, mean=MEAN, std=STD, method="grad-cam")


class SyncWatch(TorchDispatchMode):
    """Notes every operator that makes the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        boolean_index = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        to_host = name == "_to_copy" and torch.device(kwargs.get("device") or "cuda").type == "cpu"
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal") or boolean_index or to_host:
            self.seen.append(name)
        return func(*args, **kwargs)


def test_closed_form_step_runs_on_cuda_without_waiting_for_it() -> None:
    """Under fake tensors, which raise where devices are mixed."""
    head = find_cam_head(build_model("resnet20", 7), torch.randn(2, 3, 32, 32))
    with FakeTensorMode(), SyncWatch() as watch:
        with torch.device("cuda"):
            model = build_model("resnet20", 7).eval()
            x, target = torch.empty(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
        watch.seen.clear()  # of building the network
        columns = closed_form_step(model, head, Runtime(torch.device("cuda"), "fp32"), x, target)
        assert not watch.seen
        assert [(c.device.type, c.dtype) for c in columns[:2]] == [
            ("cuda", torch.float32),
            ("cuda", torch.int64),
        ]
        assert [tuple(c.shape) for c in columns] == [(4, 8, 8)] + [(4,)] * 5
        columns[0].cpu()
        assert watch.seen[-1] == "_to_copy"  # the watch sees what it should


def test_explain_waits_for_the_device_only_outside_its_batches(images: np.ndarray) -> None:
    model = WideResNet(10, 1, 7)
    counts = []
    for batch in (12, 2):
        with SyncWatch() as watch:
            explain(model, images, mean=MEAN, std=STD, batch=batch)
        counts.append(len(watch.seen))
    assert counts[0] == counts[1] > 0


def test_explain_takes_fewer_large_images_at_a_time() -> None:
    """With the graph of all layers a quarter of those of a forward pass alone; all that are asked for, if they are."""
    seen: list[tuple[int, bool]] = []

    class Watched(nn.Module):
        def __init__(self, closed: bool) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 8, stride=32)
            self.head = nn.Linear(4, 2) if closed else nn.Sequential(nn.ReLU(), nn.Linear(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            seen.append((len(x), torch.is_grad_enabled()))
            return self.head(self.conv(x).mean((2, 3)))

    large = np.random.default_rng(0).integers(0, 256, (12, 448, 448, 3), dtype=np.uint8)
    given = {"mean": MEAN, "std": STD}
    explain(Watched(closed=True), large, **given)
    assert max(count for count, _ in seen) == 10
    seen.clear()
    explain(Watched(closed=False), large, **given)
    assert max(count for count, graph in seen if graph) == 2
    seen.clear()
    explain(Watched(closed=False), large, batch=6, **given)
    assert max(count for count, graph in seen if graph) == 6
