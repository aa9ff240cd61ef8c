"""Training: recipes, the loop, checkpoints and run directories."""

from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint
from ralr_viz.train.run import RunWriter

__all__ = ["Checkpoint", "RunWriter", "load_checkpoint"]
