"""One pass over the images against the raw activations, all kept in memory."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.analysis.activations import compute_activations, statistics
from ralr_viz.analysis.activations.statistics import LayerStatistics
from ralr_viz.comparison import Comparison, compare
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.models.wrn import WideResNet
from ralr_viz.results.activations import MEASURES, ActivationsResult, wasserstein_distance
from ralr_viz.results.bundle import save_result

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
LAYERS = {"resnet20": ("layer1", "layer2", "layer3"), "wrn": ("layer1", "layer2", "relu")}

Pair = tuple[nn.Module, nn.Module]


def seen(pairs: Sequence[Pair], images: np.ndarray, **options: Any) -> Comparison:
    """Networks two by two on the same images."""
    networks = options.pop("names", None) or [model for pair in pairs for model in pair]
    return compare(networks, images=images, device="cpu", **{"mean": MEAN, "std": STD} | options)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """43 images, so that some of the 20 groups have two and some three."""
    return np.random.default_rng(0).integers(0, 256, (43, 16, 12, 3), dtype=np.uint8)


def make_pair(name: str, seed: int = 0) -> Pair:
    """A network and the same one after its weights have moved a little."""
    torch.manual_seed(seed)
    earlier, later = (
        build_model("resnet20", 5) if name == "resnet20" else WideResNet(10, 1, 5) for _ in range(2)
    )
    later.load_state_dict(earlier.state_dict())
    with torch.no_grad():
        for p in later.parameters():
            p.mul_(1 + 0.2 * torch.randn_like(p))
    return earlier.eval(), later.eval()


@pytest.fixture(scope="module", params=LAYERS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(request.param)


@pytest.fixture(scope="module")
def result(pair: Pair, images: np.ndarray) -> ActivationsResult:
    return compute_activations(seen([pair], images, batch=16))


def normalised(images: np.ndarray, mean: tuple[float, ...] = MEAN) -> Tensor:
    """As every analysis feeds them, so that convolutions round in the same way."""
    x = normalise_batch(torch.from_numpy(images), torch.tensor(mean), torch.tensor(STD))
    return x.contiguous(memory_format=torch.channels_last)


def raw(model: nn.Module, layer: str, x: Tensor) -> np.ndarray:
    """What a layer returns for all images at once."""
    kept: list[np.ndarray] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, args, output: kept.append(output.numpy().copy())
    )
    with torch.no_grad():
        model(x)
    handle.remove()
    return kept[0]


def test_compute_activations_equals_the_statistics_of_the_raw_values(
    result: ActivationsResult, pair: Pair, images: np.ndarray
) -> None:
    group = np.arange(43) % 20
    assert result.group_images.tolist() == [3] * 3 + [2] * 17
    assert result.layers[0] in LAYERS.values()
    for i, layer in enumerate(result.layers[0]):
        # batches of 16, as convolutions round differently in batches of another size
        values = np.stack(
            [
                np.concatenate([raw(m, layer, normalised(images[s : s + 16])) for s in (0, 16, 32)])
                for m in pair
            ]
        )
        assert result.shapes[0][i] == values.shape[2:]
        flat = values.reshape(2, -1)
        edges, exact = result.edges(i), flat.astype(float)
        expected = np.stack([np.histogram(row[row != 0], edges)[0] for row in flat])
        np.testing.assert_array_equal(result.histogram(i)[0], expected)
        np.testing.assert_array_equal(result.zeros[0, :, i], (flat == 0).sum(1))
        np.testing.assert_allclose(result.mean[0, :, i], exact.mean(1), rtol=1e-5)
        np.testing.assert_allclose(result.sd[0, :, i], exact.std(1), rtol=1e-5)
        assert result.measure("correlation").value[0, i] == pytest.approx(np.corrcoef(exact)[0, 1], rel=1e-5)
        change = np.linalg.norm(exact[0] - exact[1]) / np.sqrt((exact**2).sum() / 2)
        assert result.measure("relative_change").value[0, i] == pytest.approx(change, rel=1e-5)
        truth = stats.wasserstein_distance(*flat)
        assert abs(result.measure("distance").value[0, i] - truth) <= result.distance_bound[0, i]
        assert truth > result.distance_bound[0, i]  # else the test could not fail
        assert expected[:, -1].any()  # the bins end where the values do
        for g in (0, 4, 19):
            assert result.distances_without[0, i, g] == pytest.approx(
                binned(values[:, group != g], result, i)
            )
        for state in range(2):
            halves = np.array([values[state, group % 2 == half] for half in range(2)], dtype=object)
            assert result.floors[0, state, i] == pytest.approx(binned(halves, result, i))
        assert result.dead_channels[0, :, i].tolist() == [(v <= 0).all((0, 2, 3)).sum() for v in values]


def binned(pair: np.ndarray, result: ActivationsResult, layer: int) -> float:
    parts = [np.asarray(part, dtype=np.float32).ravel() for part in pair]
    counts = np.stack([np.histogram(part[part != 0], result.edges(layer))[0] for part in parts])
    zeros = np.array([(part == 0).sum() for part in parts])
    start, width = int(result.bin_starts[layer]), float(result.bin_widths[layer])
    return float(wasserstein_distance(counts, zeros, start=start, width=width))


def test_compute_activations_does_not_depend_on_the_batch(
    result: ActivationsResult, pair: Pair, images: np.ndarray
) -> None:
    done: list[tuple[int, int, str]] = []
    whole = compute_activations(seen([pair], images), progress=lambda *at: done.append(at))
    assert done == [(43, 43, "activations")]
    for name in MEASURES:
        np.testing.assert_allclose(result.measure(name).value, whole.measure(name).value, rtol=1e-3)
        np.testing.assert_allclose(result.measure(name).low, whole.measure(name).low, rtol=1e-3)
    assert result.counts.sum() == whole.counts.sum()


def test_compute_activations_does_not_depend_on_the_pieces_that_are_counted(
    result: ActivationsResult, pair: Pair, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_SMALL_PIECE", 5000)
    pieces = compute_activations(seen([pair], images, batch=16))
    np.testing.assert_array_equal(pieces.counts, result.counts)
    np.testing.assert_allclose(pieces.sd, result.sd, rtol=1e-6)


def test_compute_activations_makes_smaller_batches_of_large_maps(
    pair: Pair, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    monkeypatch.setattr(statistics, "_MOST_VALUES", 100_000)
    compute_activations(seen([pair], images), progress=lambda at, *_: done.append(at))
    assert len(done) > 1 and done[-1] == 43


def test_rows_share_edges_and_may_have_other_networks(images: np.ndarray) -> None:
    pairs = [make_pair("resnet20"), make_pair("wrn"), make_pair("resnet20", seed=1)]
    done: list[tuple[int, int]] = []
    result = compute_activations(seen(pairs, images), progress=lambda *at: done.append(at[:2]))
    assert result.layers == (LAYERS["resnet20"], LAYERS["wrn"], LAYERS["resnet20"])
    assert result.checkpoints[1] == ("network 3", "network 4")
    assert result.rows[1] == "network 3 → network 4"
    assert done == [(43, 129), (86, 129), (129, 129)]
    for i, row in enumerate(pairs):
        alone = compute_activations(seen([row], images))
        for layer in range(3):
            assert result.histogram(layer)[i].sum() == alone.histogram(layer).sum()
            assert result.bin_widths[layer] >= alone.bin_widths[layer]
        for name in ("correlation", "relative_change"):
            np.testing.assert_array_equal(result.measure(name).value[i], alone.measure(name).value[0])
        bound = result.distance_bound[i] + alone.distance_bound[0]
        assert (abs(result.measure("distance").value[i] - alone.measure("distance").value[0]) <= bound).all()


def test_a_saved_figure_of_three_rows_is_small(images: np.ndarray, tmp_path: Path) -> None:
    pairs = [make_pair("resnet20", seed) for seed in range(3)]
    saved = save_result(compute_activations(seen(pairs, images)), tmp_path / "activations")
    assert sum(file.stat().st_size for file in saved.iterdir()) < 3_000_000


def test_compute_activations_normalises_each_network_as_it_was_trained(images: np.ndarray) -> None:
    earlier, later = make_pair("resnet20")
    other = (0.1, 0.2, 0.3)
    first, second = (two := seen([(earlier, later)], images)).networks
    two = replace(two, networks=(first, replace(second, mean=other)))
    result = compute_activations(two, layers=["conv1"])
    expected = [
        raw(earlier, "conv1", normalised(images)).mean(),
        raw(later, "conv1", normalised(images, other)).mean(),
    ]
    np.testing.assert_allclose(result.mean[0, :, 0], expected, rtol=1e-4)


def test_the_same_network_twice_has_not_moved(images: np.ndarray) -> None:
    model = make_pair("wrn")[0]
    result = compute_activations(seen([(model, model)], images, batch=10))
    for name, value in (("distance", 0), ("correlation", 1), ("relative_change", 0)):
        np.testing.assert_allclose(result.measure(name), np.full((3, 1, 3), value), atol=1e-12)
    assert (result.floors > 0).all()


def test_compute_activations_of_one_image_counts_its_units(images: np.ndarray) -> None:
    pair = make_pair("resnet20")
    result = compute_activations(seen([pair], images), image=5)
    assert (result.num_images, result.image, result.selection) == (1, 5, "image 5 of the 43 images")
    np.testing.assert_array_equal(result.counts, compute_activations(seen([pair], images[5:6])).counts)
    totals = np.array([result.histogram(i)[0].sum(-1) + result.zeros[0, :, i] for i in range(3)])
    np.testing.assert_array_equal(totals, np.repeat(result.units.T, 2, axis=1))
    assert np.isnan(result.floors).all() and np.isnan(result.distances_without).all()
    assert np.isnan(result.measure("correlation").low).all()


def test_compute_activations_counts_dead_channels_and_layers_without_any_value(images: np.ndarray) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ReLU())
    nn.init.zeros_(model[0].weight)
    model[0].bias.data = torch.tensor([-1.0, 2.0, 0.0, 3.0])
    nn.init.constant_(model[2].weight, -1.0)
    nn.init.zeros_(model[2].bias)
    result = compute_activations(seen([(model, model)], images), layers=["1", "2", "3"])
    assert result.dead_channels[0].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert result.zero_share[0].tolist() == [[0.5, 0.0, 1.0], [0.5, 0.0, 1.0]]
    assert result.mean[0, 0].tolist() == [1.25, -5.0, 0.0]
    assert result.histogram(2).tolist() == [[[0], [0]]]


def test_what_was_taken_from_a_layer_is_out_of_reach_of_the_next(images: np.ndarray) -> None:
    linear = nn.Linear(140, 3)
    nn.init.zeros_(linear.weight)
    nn.init.constant_(linear.bias, -2.0)
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten(), linear, nn.ReLU(inplace=True))
    result = compute_activations(seen([(model, model)], images), layers=["2", "3"])
    assert result.mean[0].tolist() == [[-2.0, 0.0]] * 2


def test_moments_of_values_far_from_zero_are_exact(images: np.ndarray) -> None:
    model = nn.Conv2d(3, 2, 3)
    nn.init.constant_(model.bias, 3e4)
    net = nn.Sequential(model)
    result = compute_activations(seen([(net, net)], images, batch=8), layers=["0"])
    values = np.concatenate([raw(net, "0", normalised(images[s : s + 8])) for s in range(0, 43, 8)])
    assert result.sd[0, 0, 0] == pytest.approx(values.astype(float).std(), rel=1e-4)
    assert result.mean[0, 0, 0] == pytest.approx(values.astype(float).mean(), rel=1e-8)


def test_compute_activations_in_bf16_is_close(images: np.ndarray) -> None:
    pair = make_pair("resnet20")
    exact = compute_activations(seen([pair], images))
    rough = compute_activations(seen([pair], images, precision="bf16"))
    assert 0 < abs(rough.mean / exact.mean - 1).max() < 0.02


def snapshot(model: nn.Module) -> list[object]:
    """Everything that a computation could leave behind; values as bytes, so that NaN equals NaN."""
    return [
        [(len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad)) for p in model.parameters()],
        [p.grad.numpy().tobytes() for p in model.parameters() if p.grad is not None],
        [v.numpy().tobytes() for v in model.state_dict().values()],
    ]


def test_compute_activations_leaves_no_trace(images: np.ndarray) -> None:
    pair = make_pair("wrn")
    for model in pair:
        model.train()
        model(normalised(images)).sum().backward()
        model.layer1.eval()
        model.conv1.weight.requires_grad_(False)
    before = [snapshot(model) for model in pair]
    compute_activations(seen([pair], images))
    assert [snapshot(model) for model in pair] == before
    nn.init.constant_(pair[1].layer2[0].conv1.weight, float("nan"))
    before = [snapshot(model) for model in pair]
    message = "activations of `layer2` in `early → late, late` are not finite: the checkpoint has diverged"
    with pytest.raises(InputError, match=message):
        compute_activations(seen([pair], images, names=dict(zip(("early", "late"), pair, strict=True))))
    assert [snapshot(model) for model in pair] == before


class Explodes(nn.Module):
    """Not finite on bright images only, which no probe sees."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.mean((1, 2, 3), keepdim=True) > 1, x / 0, x)


def test_compute_activations_refuses_what_only_a_later_image_shows(images: np.ndarray) -> None:
    net = nn.Sequential(Explodes())
    compute_activations(seen([(net, net)], images))
    many = np.concatenate([images, np.full_like(images[:1], 255)])
    with pytest.raises(InputError, match="activations of `0` in `.*, network 1` are not finite"):
        compute_activations(seen([(net, net)], many, batch=8))


def test_compute_activations_reads_a_read_only_memory_map_without_a_warning(images: np.ndarray) -> None:
    view = images.view()
    view.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_activations(seen([make_pair("wrn")], view))


class PeakBytes(TorchDispatchMode):
    """The most bytes that tensors held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.known:
                    self.known.add(key)
                    self.live += storage.nbytes()
                    weakref.finalize(storage, self._free, key, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def state_bytes(statistics: LayerStatistics) -> int:
    histograms = [vars(histogram).values() for histogram in statistics.histograms]
    tensors = [value for values in (vars(statistics).values(), *histograms) for value in values]
    return sum(t.nbytes for t in tensors if isinstance(t, Tensor))


def test_memory_does_not_grow_with_the_number_of_images(images: np.ndarray) -> None:
    pair = make_pair("wrn")
    peaks = []
    for times in (1, 16):
        many = np.concatenate([images[:32]] * times)
        states = seen([pair], many, batch=32)
        with PeakBytes() as watch:
            compute_activations(states)
        peaks.append(watch.peak)
    assert peaks[0] > 1_000_000  # the watch sees something
    assert peaks[1] <= 1.01 * peaks[0]
    statistics = LayerStatistics(4, 20, torch.device("cpu"))
    values, group = torch.randn(32, 4, 5, 5), torch.arange(32) % 20
    statistics.add(values, values, group)
    once = state_bytes(statistics)
    for _ in range(15):
        statistics.add(values, 3 * values, group)
    assert state_bytes(statistics) == once


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
        # CUDA's bincount asks for the largest value
        if name in ("_local_scalar_dense", "nonzero", "bincount", "equal") or boolean_index or to_host:
            self.seen.append(name)
        return func(*args, **kwargs)


def test_layer_statistics_are_added_on_cuda_without_waiting_for_it() -> None:
    """Under fake tensors, which raise where devices are mixed."""
    with FakeTensorMode(), SyncWatch() as watch:
        statistics = LayerStatistics(4, 20, torch.device("cuda"))
        values = torch.empty(32, 4, 5, 5, device="cuda")
        group = torch.arange(32, device="cuda") % 20
        watch.seen.clear()
        for _ in range(2):
            statistics.add(values, values, group)
        assert not watch.seen
        assert statistics.sums.device.type == statistics.peaks.device.type == "cuda"
        statistics.sums.cpu()
        assert watch.seen == ["_to_copy"]  # the watch sees what it should


def tiny(channels: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU())


TWO = (tiny(), tiny())
SMALL = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seen([TWO], np.full((2, 8, 8, 3), 7.0, np.float32)), "\\[0, 1\\]"),
        (lambda: seen([TWO], np.zeros((0, 8, 8, 3), np.uint8)), "there are no images"),
        (lambda: seen([TWO], np.zeros((2, 2, 2, 3), np.uint8)), "`Sequential` does not take 2×2 images"),
        (lambda: seen([TWO], SMALL, batch=0), "`batch` = 0 must be at least 1"),
        (lambda: seen([TWO], SMALL, std=(0.1, 0.0, 0.1)), "`std` = .* must be three positive numbers"),
        (lambda: seen([TWO], SMALL, mean=(0.1, 0.2)), "`mean` = \\(0.1, 0.2\\) must be three numbers"),
        (lambda: seen([], SMALL), "`networks` is empty"),
        (lambda: seen([(tiny(),)], SMALL), "every pair takes two networks, 1 make none"),
        (lambda: seen([(tiny(), tiny(3))], SMALL), "the networks of `network 1 → network 2` differ"),
        (
            lambda: seen([TWO, (nn.Sequential(tiny(), nn.MaxPool2d(2)),) * 2], SMALL),
            "`network 3 → network 4` has 2 layers \\(0, 1\\) and `network 1 → network 2` has 1 \\(1\\): draw them one",
        ),
        (
            lambda: seen([(nn.Sequential(nn.Flatten()),) * 2], SMALL),
            "`Sequential` has no module that returns a map",
        ),
        (lambda: seen([TWO], SMALL, precision="fp8"), "unknown precision `fp8`"),
    ],
)
def test_compute_activations_refuses(call: Callable[[], Comparison], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        compute_activations(call())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["7"]}, "unknown module `7`"),
        ({"image": 2}, "`--image 2` is not there: the images are 0 to 1"),
        ({"image": -1}, "`image` = -1 must be 0 or more"),
    ],
)
def test_compute_activations_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_activations(seen([TWO], SMALL), **options)


def test_one_image_of_some_is_refused() -> None:
    states = seen([TWO], SMALL)
    states = replace(states, samples=replace(states.samples, limit=5))
    with pytest.raises(
        InputError, match="`--image 1` is one image and `--limit 5` several: give one of the two"
    ):
        compute_activations(states, image=1)
