"""Pictures of the training loss around networks and along a run: an illustration, no evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array
from ralr_viz.results.measure import Measure


@dataclass(frozen=True, eq=False)
class LandscapeResult(Result):
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

    models: tuple[str, ...]
    x: Annotated[np.ndarray, Array("float", 1)]
    y: Annotated[np.ndarray, Array("float", 1)]
    losses: Annotated[np.ndarray, Array("float", 3)]
    centre_loss: Annotated[np.ndarray, Array("float", 1)]
    batchnorm: str
    common: bool
    num_images: int
    batch: int
    seed: int
    epochs: Annotated[np.ndarray, Array("integer", 1)]
    path: Annotated[np.ndarray, Array("float", 2)]
    path_loss: Annotated[np.ndarray, Array("float", 1)]
    explained: Annotated[np.ndarray, Array("float", 1)]
    walk_explained: Annotated[np.ndarray, Array("float", 1)]
    dataset: str | None = None
    split: str | None = None
    augmentation: str = ""
    device: str = "cpu"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        super().__post_init__()
        m, t = len(self.models), len(self.epochs)
        expected = {
            "losses": (m, len(self.y), len(self.x)),
            "centre_loss": (m,),
            "path": (t, 2),
            "path_loss": (t,),
            "explained": (2 if t else 0,),
            "walk_explained": (2 if t else 0,),
        }
        if m == 0 or not len(self.x) or not len(self.y) or (t and m > 1):
            raise ValueError(
                f"{m} models, x {self.x.shape}, y {self.y.shape}: expects one or more, one with a path"
            )
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"`{name}` is {getattr(self, name).shape}, expects {shape}")

    def measures(self) -> tuple[Measure, ...]:
        """None: a surface is an illustration, `SharpnessResult` has the numbers."""
        return ()
