"""What one pass over the images keeps of the layers of two networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.activations.histogram import StreamingHistogram
from ralr_viz.analysis.capture import Call, capture
from ralr_viz.analysis.maps import MapAxes, Shape
from ralr_viz.analysis.pictures import Pictures
from ralr_viz.analysis.sentences import Sentences
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.eval_mode import eval_mode

_MOST_VALUES = 1 << 25
"""Captured values of one network at a time: 128 MiB."""
_PIECE = {"cuda": 1 << 24}
_SMALL_PIECE = 1 << 19
"""Values that are counted at a time; on the CPU they stay in its cache, which is five times as fast."""


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
        axes: Where the channels are in what the layers return.
        groups: Groups of images.
        runtime: Where and in which precision the forward passes run.
    """

    def __init__(
        self, stages: dict[str, Shape], axes: Mapping[str, MapAxes], groups: int, runtime: Runtime
    ) -> None:
        self.runtime, self.groups, self.axes = runtime, groups, axes
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
        pictures: Sequence[Pictures | Sentences],
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
        earlier, later = (
            {call.name: self.axes[call.name](call.outputs[0]) for call in calls} for calls in outputs
        )
        for name, statistics in self.statistics.items():
            piece = max(1, _PIECE.get(self.device.type, _SMALL_PIECE) // self.units[name])
            for part in zip(
                earlier[name].split(piece), later[name].split(piece), group.split(piece), strict=True
            ):
                statistics.add(*part)
