"""How the activations of a network move between two states of it (paper section 2 and Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import Call, capture
from ralr_viz.analysis.histogram import HALF, StreamingHistogram, align
from ralr_viz.analysis.maps import Shape
from ralr_viz.analysis.pictures import PROBE_IMAGES, Pictures, check_images, check_targets
from ralr_viz.analysis.stages import common_stages
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.results.activations import ActivationsResult, wasserstein_distance
from ralr_viz.train.evaluate import eval_mode
from ralr_viz.train.runtime import Runtime, resolve_runtime

GROUPS = 20
"""Groups of images for the jackknife."""
_MOST_VALUES = 1 << 25
"""Captured values of one network at a time: 128 MiB."""
_PIECE = {"cuda": 1 << 24}
_SMALL_PIECE = 1 << 19
"""Values that are counted at a time; on the CPU they stay in its cache, which is five times as fast."""


def compute_activations(
    pairs: Sequence[tuple[nn.Module, nn.Module]],
    images: np.ndarray,
    *,
    mean: Sequence[float] | np.ndarray,
    std: Sequence[float] | np.ndarray,
    layers: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    checkpoints: Sequence[tuple[str, str]] | None = None,
    selection: str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    image: int | None = None,
    batch: int = 256,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> ActivationsResult:
    """Histograms of each layer's activations in an earlier and a later network, and how far units moved.

    One pass over the images for each pair. Memory depends on the networks and the batch, not on how many
    images there are: histograms, sums and largest values are all that is kept.

    Args:
        pairs: (earlier, later) networks, each pair of one architecture; a row of the figure each. Moved to
            ``device``; their mode, gradients and hooks are left as they were.
        images: (n, H, W, 3) uint8, n ≥ 1; a memory map is read batch by batch.
        mean, std: Three numbers, in units of [0, 1], as in training; or (pairs, 2, 3), or what broadcasts to
            that, where the networks differ.
        layers: Modules to look at, in every network; when left out, those of `find_stages`.
        names: Of the pairs, unique; ``pair 1`` and so on when left out.
        checkpoints: Names of the two states of each pair, such as ``("epoch 200", "epoch 300")``.
        selection, dataset, split, image: As in `ActivationsResult`.
        batch: Images per forward pass; fewer where a network's maps are very large.
        device: As ``--device``.
        precision: As ``--precision``, of the forward pass; statistics are float32 values summed in float64.
        progress: Called after each batch with the number of images done, of n times the number of pairs.
        provenance: As in `Result`.

    Raises:
        InputError: Images or normalisation of another shape or range, networks that cannot be compared,
            without any map, or with activations that are not finite.
        UnknownNameError: No module of a name in ``layers``.

    Example:
        >>> result = compute_activations([(early, late)], images, mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> result.measure("relative_change").value  # (1, layers)
    """
    check_images(images, batch)
    rows, states = _name_pairs(pairs, names, checkpoints)
    runtime = resolve_runtime(device, precision)
    means, stds = (_broadcast_scale(v, name, len(rows)) for name, v in (("mean", mean), ("std", std)))
    n = len(images)
    targets, groups = check_targets(None, n), min(GROUPS, n)
    views = [
        [Pictures.on_device(images, targets, m, s, runtime) for m, s in zip(*pair, strict=True)]
        for pair in zip(means, stds, strict=True)
    ]
    networks = [[plain_network(network).to(runtime.device) for network in pair] for pair in pairs]
    # before any pass over the images, which takes longer
    found = [
        common_stages(row, pair, [picture.load(0, PROBE_IMAGES)[0] for picture in view], layers)
        for row, pair, view in zip(rows, networks, views, strict=True)
    ]
    _check_columns(rows, found)
    passes = [PairPass(stages, groups, runtime) for stages in found]
    for i, (one, pair, view) in enumerate(zip(passes, networks, views, strict=True)):
        one.run(pair, view, batch, None if progress is None else partial(_report, progress, i * n))
        one.check_finite([f"{rows[i]}, {state}" for state in states[i]])
    return ActivationsResult(
        rows=rows,
        checkpoints=states,
        layers=tuple(tuple(stages) for stages in found),
        shapes=tuple(tuple(stages.values()) for stages in found),
        **_collect(passes, np.bincount(np.arange(n) % groups)),
        selection=selection or f"{n:,} images",
        dataset=dataset,
        split=split,
        image=image,
        provenance=provenance or {},
    )


class LayerStatistics:
    """What is kept of one layer of both networks of a pair.

    Attributes:
        histograms: Of the earlier and the later network's values.
        sums: (groups, 5) float64, see `ActivationsResult.sums`.
        shift: () float32 subtracted before squaring, None before the first batch.
        peaks: (2, channels) float32 largest value of each channel.

    Args:
        channels: Of the layer.
        groups: Groups of images.
        device: Where the values are.
    """

    def __init__(self, channels: int, groups: int, device: torch.device) -> None:
        self.histograms = [StreamingHistogram(groups, device) for _ in range(2)]
        self.sums = torch.zeros(groups, 5, dtype=torch.float64, device=device)
        self.shift: Tensor | None = None
        self.peaks = torch.full((2, channels), -torch.inf, device=device)

    def add(self, earlier: Tensor, later: Tensor, group: Tensor) -> None:
        """Add what both networks return for the same images; nothing in it waits for the device.

        Args:
            earlier, later: (b, channels, ...) float32.
            group: (b,) int64 group of each image.
        """
        peaks = [values.flatten(2).amax((0, 2)) for values in (earlier.unsqueeze(2), later.unsqueeze(2))]
        self.peaks = torch.maximum(self.peaks, torch.stack(peaks))
        earlier, later = earlier.flatten(1), later.flatten(1)
        for histogram, values in zip(self.histograms, (earlier, later), strict=True):
            histogram.add(values, group)
        if self.shift is None:
            self.shift = earlier.mean()
        a, b = earlier - self.shift, later - self.shift
        terms = (a, b, a * a, b * b, (earlier - later).square_())
        sums = torch.stack([term.sum(1, dtype=torch.float64) for term in terms], 1)
        # a product, not `index_add_`, whose order and so whose rounding changes on CUDA
        member = (group == torch.arange(len(self.sums), device=group.device)[:, None]).to(torch.float64)
        self.sums += member @ sums


class PairPass:
    """One pass of two networks over the same images.

    Args:
        stages: Layers and shapes of both networks.
        groups: Groups of images.
        runtime: Where and in which precision the forward passes run.
    """

    def __init__(self, stages: dict[str, Shape], groups: int, runtime: Runtime) -> None:
        self.runtime, self.groups = runtime, groups
        # MPS has no float64
        self.device = torch.device("cpu") if runtime.device.type == "mps" else runtime.device
        self.statistics = {
            name: LayerStatistics(shape[0], groups, self.device) for name, shape in stages.items()
        }
        self.units = {name: int(np.prod(shape)) for name, shape in stages.items()}

    @torch.no_grad()
    def run(
        self,
        networks: Sequence[nn.Module],
        pictures: Sequence[Pictures],
        batch: int,
        progress: Callable[[int], object] | None,
    ) -> None:
        """Feed every image to both networks and keep the statistics of what the layers return."""
        n = len(pictures[0].images)
        batch = min(batch, max(1, _MOST_VALUES // sum(self.units.values())))
        with eval_mode(networks[0]), eval_mode(networks[1]):
            for start in range(0, n, batch):
                stop = min(start + batch, n)
                outputs = [
                    self._outputs(network, picture.load(start, stop)[0])
                    for network, picture in zip(networks, pictures, strict=True)
                ]
                self._add(outputs, torch.arange(start, stop, device=self.device) % self.groups)
                if progress is not None:
                    progress(stop)

    def check_finite(self, names: Sequence[str]) -> None:
        """Refuse activations that are not finite.

        Raises:
            InputError: It names the first network and layer.
        """
        for layer, statistics in self.statistics.items():
            for name, histogram in zip(names, statistics.histograms, strict=True):
                if not torch.isfinite(histogram.largest):
                    raise InputError(
                        f"the activations of `{layer}` in `{name}` are not finite: the checkpoint has diverged, "
                        "choose an earlier one"
                    )

    def _outputs(self, network: nn.Module, x: Tensor) -> list[Call]:
        with self.runtime.autocast(), capture(network, list(self.statistics), keep=self._copy) as calls:
            network(x)
        return calls

    def _copy(self, tensor: Tensor) -> Tensor:
        """What later in-place operations cannot reach, image by image in memory."""
        return tensor.detach().to(
            self.device, torch.float32, copy=True, memory_format=torch.contiguous_format
        )

    def _add(self, outputs: Sequence[list[Call]], group: Tensor) -> None:
        earlier, later = ({call.name: call.outputs[0] for call in calls} for calls in outputs)
        for name, statistics in self.statistics.items():
            piece = max(1, _PIECE.get(self.device.type, _SMALL_PIECE) // self.units[name])
            for part in zip(
                earlier[name].split(piece), later[name].split(piece), group.split(piece), strict=True
            ):
                statistics.add(*part)


def _collect(passes: Sequence[PairPass], sizes: np.ndarray) -> dict[str, Any]:
    """The arrays of an `ActivationsResult` from all pairs and the images of each group (G,)."""
    rows = [list(one.statistics.values()) for one in passes]
    units = np.array([list(one.units.values()) for one in passes])
    layers = [
        _collect_layer(column, units[:, i, None, None] * sizes)
        for i, column in enumerate(zip(*rows, strict=True))
    ]
    return {
        "bin_widths": np.array([layer["width"] for layer in layers]),
        "bin_starts": np.array([layer["start"] for layer in layers], dtype=np.int64),
        "bin_numbers": tuple(layer["counts"].shape[-1] for layer in layers),
        "counts": np.concatenate([layer["counts"].ravel() for layer in layers]),
        "zeros": np.stack([layer["zeros"] for layer in layers], axis=-1),
        "floors": np.stack([layer["floors"] for layer in layers], axis=-1),
        "distances_without": np.stack([layer["without"] for layer in layers], axis=1),
        "group_images": sizes.astype(np.int64),
        "shifts": np.array([[float(layer.shift or 0) for layer in row] for row in rows]),
        "sums": np.array([[layer.sums.T.cpu().numpy() for layer in row] for row in rows]),
        "dead_channels": np.moveaxis(
            np.array([[(layer.peaks <= 0).sum(1).cpu().numpy() for layer in row] for row in rows]), -1, 1
        ),
    }


def _collect_layer(column: Sequence[LayerStatistics], totals: np.ndarray) -> dict[str, Any]:
    """Counts of one layer on common edges, of which only the used ones are kept, and their distances.

    Args:
        column: R rows.
        totals: (R, 1, G) units of each group's images.
    """
    histograms = [histogram for statistics in column for histogram in statistics.histograms]
    align(histograms)
    groups = np.stack([histogram.counts.cpu().numpy() for histogram in histograms])
    groups = groups.reshape(len(column), 2, *groups.shape[1:])  # (R, 2, G, bins)
    zeros = totals - groups.sum(axis=-1)
    used = np.flatnonzero(groups.any(axis=(0, 1, 2)))
    first, end = (used[0], used[-1] + 1) if used.size else (HALF, HALF + 1)
    groups = groups[..., first:end]
    counts = groups.sum(axis=2)
    distance = partial(wasserstein_distance, start=int(first) - HALF, width=histograms[0].width)
    without = np.full((len(column), groups.shape[2]), np.nan)
    floors = np.full(counts.shape[:2], np.nan)
    if groups.shape[2] > 1:
        rest, rest_zeros = counts[:, :, None] - groups, zeros.sum(axis=2, keepdims=True) - zeros
        without = distance(np.swapaxes(rest, 1, 2), np.swapaxes(rest_zeros, 1, 2))
        halves = [(groups[:, :, i::2].sum(axis=2), zeros[:, :, i::2].sum(axis=2)) for i in range(2)]
        floors = distance(*(np.stack(part, axis=2) for part in zip(*halves, strict=True)))
    return {
        "width": histograms[0].width,
        "start": int(first) - HALF,
        "counts": counts,
        "zeros": zeros.sum(axis=2),
        "without": without,
        "floors": floors,
    }


def _check_columns(rows: Sequence[str], found: Sequence[dict[str, Shape]]) -> None:
    for row, stages in zip(rows, found, strict=True):
        if len(stages) != len(found[0]):
            raise InputError(
                f"`{row}` has {len(stages)} layers ({', '.join(stages)}) and `{rows[0]}` has "
                f"{len(found[0])} ({', '.join(found[0])}): draw them one by one, or name as many with --layer"
            )


def _name_pairs(
    pairs: Sequence[tuple[nn.Module, nn.Module]],
    names: Sequence[str] | None,
    checkpoints: Sequence[tuple[str, str]] | None,
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise InputError("`pairs` must hold one or more (earlier, later) pairs of networks")
    rows = tuple(names or (f"pair {i}" for i in range(1, len(pairs) + 1)))
    states = tuple((earlier, later) for earlier, later in checkpoints or [("earlier", "later")] * len(pairs))
    if len(rows) != len(pairs) or len(states) != len(pairs) or len(set(rows)) != len(rows):
        raise InputError(
            f"`names` has {len(rows)} and `checkpoints` {len(states)} entries for {len(pairs)} pairs: "
            "one for each, no name twice"
        )
    return rows, states


def _broadcast_scale(values: Sequence[float] | np.ndarray, name: str, pairs: int) -> list[list[list[float]]]:
    try:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), (pairs, 2, 3)).tolist()
    except ValueError:
        raise InputError(
            f"`{name}` has the shape {np.shape(values)}: takes three numbers, or ({pairs}, 2, 3) of them for "
            "networks that differ"
        ) from None


def _report(progress: Callable[[int], object], before: int, done: int) -> None:
    progress(before + done)
