"""Pictures of the training loss around networks and along a run: an illustration, no evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.fields import Array, Axis, OneOf, Within
from ralr_viz.results.measure import Measure
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.sharpness import BATCHNORM


@dataclass(frozen=True, eq=False)
class LandscapeResult(LossResult):
    """Loss of m networks in planes of two directions; with ``epochs``, of one run in the plane of its path.

    Around networks, the directions are random, filter-normalised and common, and coordinates are radii as in
    `SharpnessResult`. In the plane of a path they are the run's first two principal components of weights, of
    unit length, so coordinates are distances in weights, from the last epoch.

    Attributes:
        models: m names; of the path's run where there is one.
        x, y: (a,) and (b,) float64, growing; around networks 0 is in the middle; ``y`` may be (1,) 0 for a line.
        losses: (m, b, a) float64, mean cross-entropy in nats.
        centre_loss: (m,) float64, at 0, 0: of the networks, or of the last epoch.
        batchnorm: ``batch``, ``frozen`` or ``none``, as in `SharpnessResult`.
        common: The networks share the directions themselves.
        num_images: n.
        batch: Images a forward pass.
        seed: Of the directions.
        epochs: (t,) int64 of the path's points; empty without one.
        path: (t, 2) float64, their places.
        path_loss: (t,) float64, the loss at the epochs' own weights, not at their places in the plane.
        explained: (2,) share of the path's variance along each axis; empty without a path.
        walk_explained: (2,) the same of pure random walks of as many steps, on average.
        dataset, split, augmentation, device, precision: As in `SharpnessResult`.
    """

    kind: ClassVar[str] = "landscape"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1)]
    x: Annotated[np.ndarray, Array("float", ("columns",), fewest=1)]
    y: Annotated[np.ndarray, Array("float", ("rows",), fewest=1)]
    losses: Annotated[np.ndarray, Array("float", ("models", "rows", "columns"), unit="nats")]
    centre_loss: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    batchnorm: Annotated[str, OneOf((*BATCHNORM, "none"))]
    common: bool
    num_images: Annotated[int, Within(1)]
    batch: Annotated[int, Within(1)]
    seed: Annotated[int, Within(0)]
    epochs: Annotated[np.ndarray, Array("integer", ("points",))]
    path: Annotated[np.ndarray, Array("float", ("points", 2))]
    path_loss: Annotated[np.ndarray, Array("float", ("points",), unit="nats")]
    explained: Annotated[np.ndarray, Array("float", ((0, 2),))]
    walk_explained: Annotated[np.ndarray, Array("float", ((0, 2),))]
    dataset: str | None = None
    split: str | None = None
    augmentation: str = ""
    device: str = "cpu"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.epochs) and len(self.models) > 1:
            raise ValueError(f"`models` has {len(self.models)} names, expects one where there is a path")
        for name in ("explained", "walk_explained"):
            if bool(len(getattr(self, name))) != bool(len(self.epochs)):
                raise ValueError(f"`{name}` must be given with `epochs` of a path, and only then")

    def describe(self) -> list[str]:
        """The loss of the networks, or what the plane of a path holds."""
        unit = f" {self.loss_unit}".rstrip()
        if not len(self.epochs):
            return [
                f"{name}: loss {centre:.4g}{unit} at the centre, at most {losses.max():.4g} in the plane"
                for name, centre, losses in zip(self.models, self.centre_loss, self.losses, strict=True)
            ]
        shares, walk = (
            " and ".join(f"{100 * s:.1f} %" for s in pair) for pair in (self.explained, self.walk_explained)
        )
        return [
            f"{self.models[0]}: {len(self.epochs)} epochs, loss {self.path_loss[0]:.4g} to {self.path_loss[-1]:.4g}{unit}; "
            f"the first two principal components have {shares} of the variance of the weights",
            f"a pure random walk of as many states has {walk}: the share says nothing about the training",
        ]

    def measures(self) -> tuple[Measure, ...]:
        """None: a surface is an illustration, `SharpnessResult` has the numbers."""
        return ()
