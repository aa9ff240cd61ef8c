"""Activations of two states of a network on the same images: the numbers behind the paper's Figure 2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.jackknife import Estimate, jackknife_interval, pseudo_values
from ralr_viz.results.measure import Measure

MEASURES = ("distance", "distance_sd", "correlation", "relative_change")
"""What is measured of each row and layer, see `ActivationsResult.measure`."""

_ROUNDING = 1e-12
"""Share of a mean square below which a variance is float64's rounding, not a spread."""


MOST_BINS = 1 << 20
"""Of a layer on either side of zero, and channels or pixels of what it returns: beyond, figures run out of memory."""


@dataclass(frozen=True, eq=False)
class ActivationsResult(Result):
    """Histograms and paired sums of the activations of R pairs of networks at L layers (paper Figure 2).

    A pair is an earlier and a later state, mostly two epochs of one training; both see the same images.
    The n images are dealt to G groups (image i to group i mod G; G = 20, or n where there are fewer), for
    intervals by the delete-one-group jackknife. A unit is one channel at one position. Σ is over the images
    of a group and all units of a layer; a is the earlier and b the later value of one unit on one image.

    Attributes:
        rows: R names of the pairs, unique.
        checkpoints: R × (earlier, later) names, such as ``("epoch 200", "epoch 300")``.
        layers: R × L modules, in order of execution; those of one column are compared with each other.
        shapes: R × L × (channels, h, w) of what each module returns for one image.
        bin_widths: (L,) float64 powers of two.
        bin_starts: (L,) int64: bin j of layer l covers ``[start + j, start + j + 1) · width``.
        bin_numbers: L numbers of bins B_l, the same for all rows and both states.
        counts: Units in each bin over all images, without exact zeros: (Σ_l R·2·B_l,) int64, flat; read them
            with `histogram`.
        zeros: (R, 2, L) int64 units that are exactly zero, over all images.
        group_images: (G,) int64 images of each group.
        shifts: (R, L) float64 c, a number near the mean, subtracted before squaring.
        sums: (R, L, 5, G) float64: Σ(a−c), Σ(b−c), Σ(a−c)², Σ(b−c)², Σ(a−b)².
        distances_without: (R, L, G) float64 distance on the images outside each group; NaN where G = 1.
        floors: (R, 2, L) float64 distance between the even and the odd groups' images in the same network:
            what sampling n/2 images alone makes. NaN where G = 1.
        dead_channels: (R, 2, L) int64 channels that are positive nowhere, on no image.
        selection: Which images, in words.
        dataset, split: Their names, or None.
        image: Index in the split where one image was asked for, else None.
        samples_name: What they are, if not images.
    """

    kind: ClassVar[str] = "activations"
    schema: ClassVar[int] = 1

    rows: Annotated[tuple[str, ...], Axis(("rows",), fewest=1)]
    checkpoints: Annotated[tuple[tuple[str, str], ...], Axis(("rows",))]
    layers: Annotated[tuple[tuple[str, ...], ...], Axis(("rows", "layers"))]
    shapes: Annotated[tuple[tuple[tuple[int, ...], ...], ...], Axis(("rows", "layers")), Within(1, MOST_BINS)]
    bin_widths: Annotated[np.ndarray, Array("float", ("layers",), finite=True), Within(2.0**-200, 2.0**200)]
    bin_starts: Annotated[np.ndarray, Array("integer", ("layers",)), Within(-MOST_BINS, MOST_BINS)]
    bin_numbers: Annotated[tuple[int, ...], Axis(("layers",), fewest=1), Within(1, MOST_BINS)]
    counts: Annotated[np.ndarray, Array("integer", ("bins",))]
    zeros: Annotated[np.ndarray, Array("integer", ("rows", 2, "layers"))]
    group_images: Annotated[np.ndarray, Array("integer", ("groups",), fewest=1), Within(1, 2**40)]
    shifts: Annotated[np.ndarray, Array("float", ("rows", "layers"))]
    sums: Annotated[np.ndarray, Array("float", ("rows", "layers", 5, "groups"))]
    distances_without: Annotated[np.ndarray, Array("float", ("rows", "layers", "groups"))]
    floors: Annotated[np.ndarray, Array("float", ("rows", 2, "layers"))]
    dead_channels: Annotated[np.ndarray, Array("integer", ("rows", 2, "layers"))]
    selection: str
    dataset: str | None = None
    split: str | None = None
    image: int | None = None
    samples_name: str = "images"

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = 2 * len(self.rows) * sum(self.bin_numbers)
        if len(self.counts) != expected:
            raise ValueError(
                f"`counts` has {len(self.counts)} bins, expects {expected}, two states of all rows"
            )

    @property
    def num_images(self) -> int:
        """Images that every network saw, n."""
        return int(self.group_images.sum())

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.bin_numbers)

    @property
    def units(self) -> np.ndarray:
        """Units of each layer for one image, (R, L) int64."""
        return np.array([[np.prod(shape) for shape in row] for row in self.shapes], dtype=np.int64)

    def edges(self, layer: int) -> np.ndarray:
        """Edges of a layer's bins, (B + 1,) float64."""
        first = self.bin_starts[layer]
        return np.arange(first, first + self.bin_numbers[layer] + 1) * self.bin_widths[layer]

    def histogram(self, layer: int) -> np.ndarray:
        """Units in each bin of a layer over all images, (R, 2, B) int64."""
        sizes = [2 * len(self.rows) * number for number in self.bin_numbers]
        start = sum(sizes[:layer])
        return self.counts[start : start + sizes[layer]].reshape(len(self.rows), 2, -1)

    @property
    def zero_share(self) -> np.ndarray:
        """Share of the units that are exactly zero, (R, 2, L)."""
        return self.zeros / (self.num_images * self.units)[:, None]

    @property
    def mean(self) -> np.ndarray:
        """Mean activation, zeros included, (R, 2, L)."""
        return np.moveaxis(self._moments()["mean"][..., 0], -1, 1)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation over all units and images, zeros included, ddof = 0, (R, 2, L)."""
        return np.moveaxis(np.sqrt(self._moments()["variance"][..., 0]), -1, 1)

    @property
    def distance_bound(self) -> np.ndarray:
        """How far `distance` may be off because only bins are known, (R, L).

        Each value but the zeros stands in the middle of its bin, so it is moved by at most half a width.
        """
        return self.bin_widths * (1 - self.zero_share).mean(axis=1)

    @property
    def sampling_spread(self) -> np.ndarray:
        """How much wider than of independent units the noise of sampling is, (R, L); NaN where G = 1.

        Units of one image are alike. `floors` over the distance that two halves of independent units would have,
        ∫ √(2/π · 4F(1 − F)/N) dx, the mean of both states.
        """
        spread = np.full((len(self.rows), self.num_layers), np.nan)
        for layer in range(self.num_layers):
            counts, edges = self.histogram(layer), self.edges(layer)
            total = self.num_images * self.units[:, layer, None, None]
            below = np.cumsum(counts, axis=-1) + np.where(edges[1:] > 0, self.zeros[:, :, layer, None], 0)
            share = below / total
            independent = (
                np.sqrt(8 / np.pi * share * (1 - share) / total).sum(axis=-1) * self.bin_widths[layer]
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                found = self.floors[:, :, layer] / independent
            spread[:, layer] = np.where(independent > 0, found, np.nan).mean(axis=1)
        return spread

    def measure(self, name: str) -> Estimate:
        """One of `MEASURES` for each row and layer, (R, L), with its 95 % interval over groups of images.

        ``distance``: Wasserstein-1 distance of the two distributions of values, in units of the activation.
        ``distance_sd``: The same in units of √((sd_a² + sd_b²)/2).
        ``correlation``: Pearson's, of a and b over all units and images.
        ``relative_change``: ‖a − b‖ / √((‖a‖² + ‖b‖²)/2): 0 where no unit moved, √2 for orthogonal a and b.

        Distributions can stay equal while every unit moves: the last two compare the same unit on the same
        image. The interval covers the choice of the images, not the seed of the training; of five images those of the
        last two hold the truth in about 92 %.
        """
        return jackknife_interval(self._replicates(name), self.group_images)

    def difference(self, name: str) -> Estimate:
        """A measure of each row minus that of the first row, (R, L); all rows share the groups of images.

        The bounds of two distances add up to that of their difference.
        """
        replicates = self._replicates(name)
        return jackknife_interval(replicates - replicates[:1], self.group_images)

    def measures(self) -> tuple[Measure, ...]:
        """Of each row, the means over the layers: distance of the distributions first, Figure 2's own number, then what moved.

        Intervals are over the groups of images: Student's, of the pseudo-values of the jackknife, whose mean is put to
        the value.
        """
        labels = {
            "distance_sd": ("activation distance of the two states, mean of layers", "sd"),
            "relative_change": ("activation change of the two states, mean of layers", "%"),
        }
        found = []
        for name, (label, unit) in labels.items():
            means = self._replicates(name).mean(axis=1) * (100 if unit == "%" else 1)
            value, each = means[:, 0], np.zeros((0, 0))
            if len(self.group_images) > 1:
                each = value[:, None] + pseudo_values(means, self.group_images)[1]
            found.append(
                Measure(
                    f"activation_{name}", label, unit, value, resampled="groups of images",
                    count=len(self.group_images), each=each,
                )
            )  # fmt: skip
        return tuple(found)

    def summary(self) -> list[dict[str, Any]]:
        """One row for each row and layer, what the terminal and a table show.

        Returns:
            ``row, earlier, later, layer, shape, units, images``; for both states ``zero_share``, ``mean``,
            ``sd``, ``dead_channels`` and ``floor``; ``distance_bound``; each of `MEASURES` with its interval
            (``_low``, ``_high``), and minus that of the first row (``_difference``, likewise; NaN in it).
        """
        both = {"zero_share": self.zero_share, "mean": self.mean, "sd": self.sd}
        both |= {"dead_channels": self.dead_channels, "floor": self.floors}
        measured = {name: self.measure(name) for name in MEASURES}
        measured |= {f"{name}_difference": self.difference(name) for name in MEASURES}
        bound, units = self.distance_bound, self.units
        table = []
        for r, layer in np.ndindex(len(self.rows), self.num_layers):
            row: dict[str, Any] = {
                "row": self.rows[r],
                "earlier": self.checkpoints[r][0],
                "later": self.checkpoints[r][1],
                "layer": self.layers[r][layer],
                "shape": "×".join(map(str, self.shapes[r][layer])),
                "units": int(units[r, layer]),
                "images": self.num_images,
            }
            for name, values in both.items():
                for state, when in enumerate(("earlier", "later")):
                    row[f"{name}_{when}"] = values[r, state, layer].item()
            row["distance_bound"] = float(bound[r, layer])
            for name, estimate in measured.items():
                itself = r == 0 and name.endswith("_difference")
                for end, values in zip(("", "_low", "_high"), estimate, strict=True):
                    row[name + end] = np.nan if itself else float(values[r, layer])
            table.append(row)
        return table

    def describe(self) -> list[str]:
        """A line for each row and layer, then what each row differs in from the first."""
        summary = self.summary()
        first = summary[: self.num_layers]
        others = summary[self.num_layers :]
        return [
            *(_describe(row) for row in summary),
            *(_describe_difference(row, first[i % self.num_layers]) for i, row in enumerate(others)),
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """Which images and layers these are."""
        layers = (
            f"{row}: layers {', '.join(names)}" for row, names in zip(self.rows, self.layers, strict=True)
        )
        return (f"{self.samples_name}: {self.selection}", *layers)

    def _replicates(self, name: str) -> np.ndarray:
        """A measure on all images and then on those outside each group, (R, L, 1 + G)."""
        if name not in MEASURES:
            raise ValueError(f"`{name}` is none of the measures {', '.join(MEASURES)}")
        moments = self._moments()
        if not name.startswith("distance"):
            return moments[name]
        whole = np.stack(
            [
                wasserstein_distance(
                    self.histogram(layer),
                    self.zeros[:, :, layer],
                    start=int(self.bin_starts[layer]),
                    width=float(self.bin_widths[layer]),
                )
                for layer in range(self.num_layers)
            ],
            axis=-1,
        )
        distance = np.concatenate([whole[..., None], self.distances_without], axis=-1)
        if name == "distance":
            return distance
        return _divide(distance, np.sqrt(moments["variance"].mean(axis=2)))

    def _moments(self) -> dict[str, np.ndarray]:
        """Of all images and then of those outside each group: (R, L, 1 + G), mean and variance (R, L, 2, 1 + G)."""
        whole = self.sums.sum(axis=-1, keepdims=True)
        without = whole - self.sums if len(self.group_images) > 1 else np.full_like(self.sums, np.nan)
        images = np.append(self.num_images, self.num_images - self.group_images)
        count = np.maximum(images * self.units[..., None], 1)
        sums = np.concatenate([whole, without], axis=-1) / count[:, :, None]
        first, square, change = sums[:, :, 0:2], sums[:, :, 2:4], sums[:, :, 4]
        variance = square - first**2
        variance = np.where(variance < _ROUNDING * square, 0, variance)  # NaN stays
        # var(a − b) = var a + var b − 2 cov
        spread = change - (first[:, :, 0] - first[:, :, 1]) ** 2
        covariance = (variance.sum(axis=2) - spread) / 2
        correlation = _divide(covariance, np.sqrt(variance.prod(axis=2)))
        shift = self.shifts[:, :, None, None]
        energy = np.maximum(square + 2 * shift * first + shift**2, 0)
        return {
            "mean": shift + first,
            "variance": variance,
            "correlation": np.clip(correlation, -1, 1),
            "relative_change": np.sqrt(_divide(change, energy.mean(axis=2))),
        }


def wasserstein_distance(counts: np.ndarray, zeros: np.ndarray, *, start: int, width: float) -> np.ndarray:
    """Wasserstein-1 distance ∫|F_a − F_b| of two histograms whose bins are anchored at zero.

    Each bin's mass stands in its middle, the zeros at 0, so the distance between the values themselves is
    within ``width`` times the mean share of non-zero values.

    Args:
        counts: (..., 2, B) of both distributions; bin j covers ``[start + j, start + j + 1) · width``.
        zeros: (..., 2) counts of exact zeros.
        start: Index of the first bin.
        width: Of a bin.

    Returns:
        (...) float64, in units of ``width``'s; NaN where one of the two is empty.
    """
    at = int(np.clip(-start, 0, counts.shape[-1]))
    places = np.insert(start + np.arange(counts.shape[-1]) + 0.5, at, 0.0)
    mass = np.concatenate([counts[..., :at], zeros[..., None], counts[..., at:]], axis=-1)
    shares = _divide(mass, mass.sum(axis=-1, keepdims=True))
    excess = np.cumsum(shares[..., 0, :] - shares[..., 1, :], axis=-1)
    empty = np.isnan(shares[..., 0]).any(axis=-1)
    return np.where(empty, np.nan, width * (np.abs(excess[..., :-1]) * np.diff(places)).sum(axis=-1))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b = 0."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def _describe(row: dict[str, Any]) -> str:
    """One line for each row and layer; what was not measured is left out."""
    floor = max(row["floor_earlier"], row["floor_later"])
    distance = f"W1 {_measured(row, 'distance')} ± {row['distance_bound']:.2g} (bins)"
    distance += f", {_measured(row, 'distance_sd')} sd"
    parts = [
        f"zeros {100 * row['zero_share_earlier']:.1f} → {100 * row['zero_share_later']:.1f} %",
        distance + ("" if math.isnan(floor) else f", floor {floor:.2g}"),
        f"correlation {_measured(row, 'correlation')}",
        f"relative change {_measured(row, 'relative_change', 100)} %",
        f"dead channels {row['dead_channels_earlier']} → {row['dead_channels_later']}",
    ]
    return f"{row['row']}, {row['layer']} ({row['shape']}): " + "; ".join(parts)


def _describe_difference(row: dict[str, Any], first: dict[str, Any]) -> str:
    bound = row["distance_bound"] + first["distance_bound"]
    parts = [
        f"W1 {_measured(row, 'distance_difference')} ± {bound:.2g} (bins)",
        f"correlation {_measured(row, 'correlation_difference')}",
        f"relative change {_measured(row, 'relative_change_difference', 100)} points",
    ]
    return f"{row['row']} minus {first['row']}, {row['layer']}: " + "; ".join(parts)


def _measured(row: dict[str, Any], name: str, scale: float = 1) -> str:
    value, low, high = (scale * row[name + end] for end in ("", "_low", "_high"))
    return f"{value:.4g}" + ("" if math.isnan(low) else f" [{low:.4g}, {high:.4g}]")
