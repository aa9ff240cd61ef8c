"""What tasks there are: how each is scored, and where its code lies. Imports none of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ralr_viz.foreign import one_line

SETS = ("train", "val", "test")
"""Parts of the samples as a training sees them: trained on, held out, and official test samples."""


@dataclass(frozen=True)
class Score:
    """How well a network does, beside its loss.

    Attributes:
        key: Of a record's columns, such as ``acc`` of ``val_acc`` and ``test_acc``.
        title: What figures and tables call it.
        unit: Of it; empty for a pure number.
        better: Which direction is better.
        diverged: What a training that diverged counts as in a table; None where it is in no mean.
    """

    key: str
    title: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"
    diverged: float | None = None

    def __str__(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def show(self, value: float, digits: int = 2) -> str:
        """``91.73 %``; what has no unit with four significant digits."""
        return f"{value:.{digits}f} {self.unit}" if self.unit else f"{value:.4g}"


@dataclass(frozen=True)
class About:
    """How one speaks of the trainings of a task.

    Attributes:
        score: How a network is scored; None where only the loss says it.
        loss_unit: Of the loss; empty where it has none.
        samples: What is shown and counted, such as ``images``.
    """

    score: Score | None
    loss_unit: str = ""
    samples: str = "samples"

    def to_dict(self) -> dict[str, Any]:
        """What `about_run` reads again."""
        return asdict(self)


@dataclass(frozen=True)
class TaskRow:
    """One task.

    Attributes:
        name: As a recipe's ``task`` has it.
        about: How one speaks of it.
        recipe: ``module:Class`` of its recipes, which imports no torch.
        task: ``module:Class`` of the task itself; made of a recipe and the folder of the data.
    """

    name: str
    about: About
    recipe: str
    task: str


ACCURACY = Score("acc", "accuracy", "%")
IMAGES = About(ACCURACY, "nats", "images")
CLASSIFICATION = "classification"
DETECTION = "detection"
MEAN_PRECISION = Score("map50", "mAP@.5 (VOC07)", "%")
BLEU = Score("bleu", "BLEU", diverged=0.0)
TRANSLATION = "translation"

TASKS = {
    row.name: row
    for row in (
        TaskRow(
            CLASSIFICATION,
            IMAGES,
            "ralr_viz.tasks.classification.recipe:ClassificationRecipe",
            "ralr_viz.tasks.classification.task:ImageClassification",
        ),
        TaskRow(
            DETECTION,
            About(MEAN_PRECISION, "", "images"),
            "ralr_viz.tasks.detection.recipe:DetectionRecipe",
            "ralr_viz.tasks.detection.task:Detection",
        ),
        TaskRow(
            TRANSLATION,
            About(BLEU, "nats", "tokens"),
            "ralr_viz.tasks.translation.recipe:TranslationRecipe",
            "ralr_viz.tasks.translation.task:Translation",
        ),
    )
}
"""A task of the user's own is none of these: its name is its ``package.module:Class``."""


def task_name(recipe: Any) -> str:
    """The task of a flat recipe; one without the setting is older than that, a classification."""
    named = recipe.get("task") if isinstance(recipe, Mapping) else None
    return str(named or CLASSIFICATION)


def classifies(recipe: Any) -> bool:
    """Whether a flat recipe is of a classification of images, whose networks all of ralr-viz can look into."""
    return task_name(recipe) == CLASSIFICATION


def about_run(recipe: Any, env: Any = None) -> About:
    """How one speaks of a run.

    Args:
        recipe: Its flat settings.
        env: Content of its ``env.json``, which says it where the task is the user's own.
    """
    row = TASKS.get(task_name(recipe))
    told = env.get("task") if isinstance(env, Mapping) else None
    if not isinstance(told, Mapping):
        return row.about if row else IMAGES
    score = told.get("score")
    return About(
        _read_score(score) if isinstance(score, Mapping) else None,
        one_line(told.get("loss_unit") or ""),
        one_line(told.get("samples") or "samples"),
    )


def _read_score(told: Mapping[str, Any]) -> Score:
    key, title, unit = (one_line(told.get(name) or "") for name in ("key", "title", "unit"))
    diverged = told.get("diverged")
    return Score(
        key,
        title or key,
        unit,
        "lower" if told.get("better") == "lower" else "higher",
        float(diverged) if isinstance(diverged, int | float) else None,
    )
