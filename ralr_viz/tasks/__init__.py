"""What is trained for: the loss of a batch, and how well it is done."""

from __future__ import annotations

from ralr_viz.tasks.classification import Classification
from ralr_viz.tasks.own import Batches, OwnTask, task
from ralr_viz.tasks.task import Score, Task

__all__ = ["Batches", "Classification", "OwnTask", "Score", "Task", "task"]
