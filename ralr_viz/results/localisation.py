"""How well the class activation maps of several networks point at the object, beside maps that know nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, OneOf, Within
from ralr_viz.results.measure import Measure, list_measures

METRICS = {
    "rank": "rank accuracy",
    "energy": "energy in the box",
    "box": "box accuracy",
    "pointing": "pointing game",
    "top1": "top-1 localisation",
}
"""Quantities along the third axis of ``values``; the first two are primary."""

STRATA = {
    "small": "boxes below a quarter of the image",
    "all": "all boxes",
    "correct": "images all get right",
}
"""Images along the second axis of ``values``; the headline is of the first."""

BASELINES = ("uniform", "centre")
"""Maps that have seen no image, along the first axis of ``baselines``."""

FAITHFULNESS = {"deletion": "deletion", "insertion": "insertion", "road": "ROAD"}
CONTROLS = ("random", "centre")
"""Maps that a network's own map is held against in ``faithfulness``."""

SMALL_AREA = 0.25

SURE_EDGES = (0.5, 0.9, 0.99)
SURE = {"unsure": "p < .5", "likely": "p .5 to .9", "sure": "p .9 to .99", "certain": "p ≥ .99"}
"""Strata by the probability of the true class, ends at `SURE_EDGES`: images of which a network is about equally sure."""
_FEWEST = 10
"""Images of a stratum, of each network, that is compared: fewer would leave it empty in some resample."""


@dataclass(frozen=True, eq=False)
class LocalisationResult(Result):
    r"""Maps of the true class on n images with a box, for m networks; all shares in [0, 1].

    Where the pixels of the objects are known (``region`` is ``mask``), rank accuracy, energy and pointing game are of
    them and B below is the mask; the boxes are those around the masks.

    - ``rank``: share of the map's \|B\| highest pixels inside the box B of \|B\| pixels.
    - ``energy``: share of the positive activation inside the box; a map without any counts as uniform.
    - ``box``: the box of the largest connected part of the map above a threshold overlaps the object's box by
      .3, .5 and .7 (mean of the three shares). Only of the images with an odd place among the n: the
      threshold (``thresholds``) is the best for the network on the others. Stricter than MaxBoxAccV2, which
      averages the same overlaps: that takes the best threshold for each overlap, on the evaluated images
      themselves, and the best box of all connected parts.
    - ``pointing``: the map's highest pixel is inside the box.
    - ``top1``: the prediction is right and that box overlaps by .5 or more. It grows with accuracy alone.

    Attributes:
        models: m names.
        indices: (n,) int64 positions in the split, in its canonical order.
        labels: (n,) int64.
        boxes: (n, 4) int16 ``x0 y0 x1 y1``, inclusive pixel indices; all proper.
        area: (n,) float64 share of the image inside the region.
        correct: (m, n) bool.
        rank, energy, pointing: (m, n) float64.
        overlap: (m, n) float64 intersection over union of the two boxes; NaN where the threshold was chosen.
        values: (m, strata, quantities) float64 in the order of `STRATA` and `METRICS`.
        baselines: (2, strata, quantities) float64 of `BASELINES`. ``uniform`` is a constant map (for ``box``
            the whole image, for ``pointing`` a random pixel), ``centre`` a Gaussian (for ``box`` the centred
            box of the side that is best on the other images). NaN for ``top1``.
        counts: (strata, quantities) int64 images.
        draws: (m, strata, quantities, R) float64 of the bootstrap over images, common to the
            networks and of the evaluated images; thresholds stay.
        thresholds: (m,) float64 of the maps scaled to [0, 1].
        centre_side: Side of the centred box over the image's.
        zero_maps: (m,) int64 maps without a positive value.
        dropped: Images without a box in the image: it is missing, outside, or was of no width or height.
        image_size: (H, W) in pixels.
        map_sizes: m × (h, w).
        sanity: (m, K, 3) float64: Spearman correlation of the signed maps with the network's own after the
            first k stages from the head are random, mean and 95 % interval over images; NaN beyond a
            network's stages.
        sanity_stages: m × names of the stages in that order.
        sanity_images: Images of ``sanity``; 0 where it was not measured.
        faithfulness: (m, 3, 2) float64 gains of a network's map over `CONTROLS` by `FAITHFULNESS`, in
            probability of the true class; NaN where it was not measured.
        faithfulness_draws: (m, 3, 2, R) float64 over the same images for all networks.
        faithfulness_images: Images of ``faithfulness``.
        region: ``box`` or ``mask``.
        target: (m, n) float64 probability of the true class; None in results of before it was kept, as the next three.
        sure_values: (m, K) float64 rank accuracy in the strata of `SURE`, each network's own; NaN of an empty one.
        sure_counts: (m, K) int64 images.
        sure_draws: (m, K, R) float64, of the same bootstrap as ``draws``.
        class_names: In label order; may be empty.
        seed: Of the bootstrap and of what is random in the checks.
        dataset, split: Where the images come from; None for others.
        device, precision: Of the forward pass.
        notes: What a reader should know, one sentence each.

    References:
        Choe et al., Evaluating weakly supervised object localization methods right, CVPR 2020 (MaxBoxAcc,
        and MaxBoxAccV2 in its extended version). Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """

    kind: ClassVar[str] = "localisation"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    labels: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    boxes: Annotated[np.ndarray, Array("integer", ("images", 4), unit="pixels")]
    area: Annotated[np.ndarray, Array("float", ("images",))]
    correct: Annotated[np.ndarray, Array("boolean", ("models", "images"))]
    rank: Annotated[np.ndarray, Array("float", ("models", "images"))]
    energy: Annotated[np.ndarray, Array("float", ("models", "images"))]
    pointing: Annotated[np.ndarray, Array("float", ("models", "images"))]
    overlap: Annotated[np.ndarray, Array("float", ("models", "images"))]
    values: Annotated[np.ndarray, Array("float", ("models", len(STRATA), len(METRICS)))]
    baselines: Annotated[np.ndarray, Array("float", (len(BASELINES), len(STRATA), len(METRICS)))]
    counts: Annotated[np.ndarray, Array("integer", (len(STRATA), len(METRICS)))]
    draws: Annotated[np.ndarray, Array("float", ("models", len(STRATA), len(METRICS), "resamples"))]
    thresholds: Annotated[np.ndarray, Array("float", ("models",))]
    centre_side: float
    zero_maps: Annotated[np.ndarray, Array("integer", ("models",))]
    dropped: int
    image_size: tuple[int, int]
    map_sizes: Annotated[tuple[tuple[int, int], ...], Axis(("models",))]
    sanity: Annotated[np.ndarray, Array("float", ("models", "stages", 3))]
    sanity_stages: Annotated[tuple[tuple[str, ...], ...], Axis(("models",))]
    sanity_images: int
    faithfulness: Annotated[np.ndarray, Array("float", ("models", len(FAITHFULNESS), len(CONTROLS)))]
    faithfulness_draws: Annotated[
        np.ndarray, Array("float", ("models", len(FAITHFULNESS), len(CONTROLS), "gain_resamples"))
    ]
    faithfulness_images: int
    region: Annotated[str, OneOf(("box", "mask"))] = "box"
    target: Annotated[np.ndarray | None, Array("float", ("models", "images"))] = None
    sure_values: Annotated[np.ndarray | None, Array("float", ("models", len(SURE)))] = None
    sure_counts: Annotated[np.ndarray | None, Array("integer", ("models", len(SURE)))] = None
    sure_draws: Annotated[np.ndarray | None, Array("float", ("models", len(SURE), "resamples"))] = None
    class_names: tuple[str, ...] = ()
    seed: Annotated[int, Within(0)] = 0
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""
    notes: tuple[str, ...] = ()

    def measures(self) -> tuple[Measure, ...]:
        """Rank accuracy of small boxes first, which the claim "more precise" is about; then all others."""
        found = [self.measure(name, stratum) for stratum in STRATA for name in METRICS]
        found += self.sure_measures()
        if self.faithfulness_images:
            found += [self.gain(name, control) for name in FAITHFULNESS for control in CONTROLS]
        return tuple(found)

    def measure(self, name: str, stratum: str) -> Measure:
        """One of `METRICS` on one of `STRATA`."""
        at = (slice(None), list(STRATA).index(stratum), list(METRICS).index(name))
        label = f"{self.metric(name)}, {self.stratum(stratum)}"
        count = self.count(name, stratum)
        share = 1.0 if name in ("pointing", "top1") else 0.0
        values, draws = self.values[at], self.draws[at]
        return Measure(f"{name}_{stratum}", label, "", values, draws, "images", count, share=share)

    def metric(self, name: str) -> str:
        """One of `METRICS` in words, of the region that it is held against."""
        return METRICS[name].replace("in the box", f"in the {self.region}")

    def stratum(self, name: str) -> str:
        """One of `STRATA` in words."""
        return STRATA[name].replace("boxes", "boxes" if self.region == "box" else "masks")

    def sure_measures(self) -> list[Measure]:
        """Rank accuracy in each stratum of `SURE`, and with the strata in the same proportion for all networks.

        That proportion is the networks' own, pooled, over the strata in which each of them has ten images or more; a
        network that is surer of the classes has no better number for that alone.
        """
        if self.sure_values is None or self.sure_counts is None or self.sure_draws is None:
            return []
        found = []
        for k, (name, words) in enumerate(SURE.items()):
            values, draws, count = self.sure_values[:, k], self.sure_draws[:, k], self.sure_counts[:, k].min()
            found.append(
                Measure(f"rank_{name}", f"rank accuracy, {words}", "", values, draws, "images", int(count))
            )
        common = (self.sure_counts >= _FEWEST).all(axis=0)
        share = self.sure_counts.sum(axis=0) * common
        if not common.any():
            return found
        share = share[common] / share.sum()
        values = self.sure_values[:, common] @ share
        draws = np.einsum("mkr,k->mr", self.sure_draws[:, common], share)
        count = int(self.sure_counts[:, common].sum(axis=1).min())
        label = "rank accuracy, equally sure"
        return [*found, Measure("rank_equally_sure", label, "", values, draws, "images", count)]

    def gain(self, name: str, control: str) -> Measure:
        """Gain of each network's map over one of `CONTROLS` by one of `FAITHFULNESS`."""
        at = (slice(None), list(FAITHFULNESS).index(name), CONTROLS.index(control))
        label = f"{FAITHFULNESS[name]}, gain over a {control} map"
        values, draws = self.faithfulness[at], self.faithfulness_draws[at]
        count = self.faithfulness_images
        return Measure(f"{name}_over_{control}", label, "", values, draws, "images", count)

    def baseline(self, name: str, stratum: str) -> dict[str, float]:
        """What the maps of `BASELINES` reach in one of `METRICS` on one of `STRATA`."""
        at = (slice(None), list(STRATA).index(stratum), list(METRICS).index(name))
        return dict(zip(BASELINES, self.baselines[at].tolist(), strict=True))

    def count(self, name: str, stratum: str) -> int:
        """Images of one of `METRICS` on one of `STRATA`."""
        return int(self.counts[list(STRATA).index(stratum), list(METRICS).index(name)])

    def describe(self) -> list[str]:
        """The measures, what maps that know nothing reach, and whether the networks' maps depend on their weights."""
        lines = list_measures(self.models, self.measures())
        for stratum in STRATA:
            parts = []
            for name in METRICS:
                uniform, centre = self.baseline(name, stratum).values()
                if not math.isnan(uniform):
                    parts.append(
                        f"{self.metric(name)} {uniform:.4g}, {centre:.4g} (n = {self.count(name, stratum):,})"
                    )
            lines.append(f"uniform and centre map, {self.stratum(stratum)}: {'; '.join(parts)}")
        for i, model in enumerate(self.models):
            zero = f"{self.zero_maps[i]:,} zero maps, threshold {self.thresholds[i]:.2f}"
            lines.append(f"{model}: {zero}; {self.dropped:,} images without a proper box dropped")
            if self.sanity_images:
                stages = ", ".join(
                    f"{stage} {value:.3f}"
                    for stage, (value, _, _) in zip(self.sanity_stages[i], self.sanity[i], strict=False)
                )
                lines.append(
                    f"{model}: rank correlation with its own maps, weights random from the head up to: {stages} "
                    f"({self.sanity_images:,} images)"
                )
        return lines
