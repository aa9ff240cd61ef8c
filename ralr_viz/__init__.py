"""ralr-viz: train, draw and measure why randomly amplified learning rates (RALR) change a network.

Importing the package loads neither torch nor matplotlib; the names below are loaded when first used.

    Train       RALR, MatchedRALR, LRNoise, amplification_factors, RunWriter, load_checkpoint
    Compare     compare: networks side by side on the same samples, which the diagnostics take; select_pictures: a few
                of these; task: an objective of your own, in the place of images; late_states: the networks of runs
                after 2/3 of their training and at its end
    Compute     compute_activations, compute_cam, compute_curves, compute_embedding, compute_predictions, load_run
    Translate   translate, compute_bleu, compute_attention: of networks that translate
    Detection   compute_detect: objects found beside those that there are; compute_detection_errors
    Ask why     compute_why and, one diagnostic each, compute_barrier, compute_calibration, compute_collapse,
                compute_distance, compute_effect, compute_fork, compute_landscape, compute_localisation, compute_movement,
                compute_noise_scale, compute_sharpness, compute_similarity, compute_spectrum; open_state: what a
                fork starts from
    Studies     load_study, compute_study, render_study and, of one that decides, compute_decision, render_decision
    Keep        save_result, load_result
    Draw        draw_ and the same names, style, save_figure
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ralr_viz._version import __version__
from ralr_viz.nouns import NOUNS

if TYPE_CHECKING:
    from ralr_viz.analysis.activations import compute_activations
    from ralr_viz.analysis.attention import compute_attention
    from ralr_viz.analysis.averaging import average_states
    from ralr_viz.analysis.barrier import compute_barrier
    from ralr_viz.analysis.bleu import compute_bleu
    from ralr_viz.analysis.calibration import compute_calibration
    from ralr_viz.analysis.cam import compute_cam
    from ralr_viz.analysis.collapse import compute_collapse
    from ralr_viz.analysis.curves import compute_curves
    from ralr_viz.analysis.detect import compute_detect
    from ralr_viz.analysis.detection_errors import compute_detection_errors
    from ralr_viz.analysis.distance import compute_distance
    from ralr_viz.analysis.effect import compute_effect
    from ralr_viz.analysis.embedding import compute_embedding
    from ralr_viz.analysis.fork import compute_fork
    from ralr_viz.analysis.fork.point import open_state
    from ralr_viz.analysis.landscape import compute_landscape
    from ralr_viz.analysis.learning import compute_learning, evaluate_kept
    from ralr_viz.analysis.localisation import compute_localisation
    from ralr_viz.analysis.movement import compute_movement
    from ralr_viz.analysis.noise_scale import compute_noise_scale
    from ralr_viz.analysis.predictions import compute_predictions
    from ralr_viz.analysis.selection import select_pictures
    from ralr_viz.analysis.sharpness import compute_sharpness
    from ralr_viz.analysis.similarity import compute_similarity
    from ralr_viz.analysis.spectrum import compute_spectrum
    from ralr_viz.analysis.translations import translate
    from ralr_viz.analysis.why import compute_why
    from ralr_viz.comparison import Comparison, compare, late_states
    from ralr_viz.plots.activations import draw_activations
    from ralr_viz.plots.attention import draw_attention
    from ralr_viz.plots.barrier import draw_barrier
    from ralr_viz.plots.bleu import draw_bleu
    from ralr_viz.plots.calibration import draw_calibration
    from ralr_viz.plots.cam import draw_cam
    from ralr_viz.plots.collapse import draw_collapse
    from ralr_viz.plots.curves import draw_curves
    from ralr_viz.plots.decision import draw_decision
    from ralr_viz.plots.detect import draw_detect
    from ralr_viz.plots.detection_errors import draw_detection_errors
    from ralr_viz.plots.distance import draw_distance
    from ralr_viz.plots.dose import draw_dose
    from ralr_viz.plots.effect import draw_effect
    from ralr_viz.plots.embedding import draw_embedding
    from ralr_viz.plots.fork import draw_fork
    from ralr_viz.plots.landscape import draw_landscape
    from ralr_viz.plots.learning import draw_learning
    from ralr_viz.plots.localisation import draw_localisation
    from ralr_viz.plots.movement import draw_movement
    from ralr_viz.plots.noise_scale import draw_noise_scale
    from ralr_viz.plots.over_time import draw_over_time
    from ralr_viz.plots.sharpness import draw_sharpness
    from ralr_viz.plots.similarity import draw_similarity
    from ralr_viz.plots.spectrum import draw_spectrum
    from ralr_viz.plots.study import draw_study
    from ralr_viz.plots.style import save_figure, style
    from ralr_viz.plots.why import draw_why
    from ralr_viz.results.bundle import load_result, save_result
    from ralr_viz.results.run import load_run
    from ralr_viz.schedule import RALR, LRNoise, MatchedRALR, amplification_factors
    from ralr_viz.study.decision import compute_decision
    from ralr_viz.study.grid_file import load_study
    from ralr_viz.study.render import render_study
    from ralr_viz.study.render_decision import render_decision
    from ralr_viz.study.table import compute_study
    from ralr_viz.tasks.own import task
    from ralr_viz.train import RunWriter, load_checkpoint
    from ralr_viz.workflows.dose import DoseOptions, dose_response
    from ralr_viz.workflows.over_time import OverTimeOptions, over_time
    from ralr_viz.workflows.why import WhyOptions, why

_FIXED = {
    "Comparison": "ralr_viz.comparison",
    "LRNoise": "ralr_viz.schedule",
    "MatchedRALR": "ralr_viz.schedule",
    "RALR": "ralr_viz.schedule",
    "RunWriter": "ralr_viz.train",
    "amplification_factors": "ralr_viz.schedule",
    "compare": "ralr_viz.comparison",
    "compute_decision": "ralr_viz.study.decision",
    "compute_predictions": "ralr_viz.analysis.predictions",
    "compute_study": "ralr_viz.study.table",
    "compute_why": "ralr_viz.analysis.why",
    "draw_decision": "ralr_viz.plots.decision",
    "draw_study": "ralr_viz.plots.study",
    "draw_why": "ralr_viz.plots.why",
    "late_states": "ralr_viz.comparison",
    "load_checkpoint": "ralr_viz.train",
    "load_result": "ralr_viz.results.bundle",
    "load_run": "ralr_viz.results.run",
    "load_study": "ralr_viz.study.grid_file",
    "open_state": "ralr_viz.analysis.fork.point",
    "render_decision": "ralr_viz.study.render_decision",
    "render_study": "ralr_viz.study.render",
    "save_figure": "ralr_viz.plots.style",
    "select_pictures": "ralr_viz.analysis.selection",
    "save_result": "ralr_viz.results.bundle",
    "style": "ralr_viz.plots.style",
    "OverTimeOptions": "ralr_viz.workflows.over_time",
    "DoseOptions": "ralr_viz.workflows.dose",
    "dose_response": "ralr_viz.workflows.dose",
    "draw_dose": "ralr_viz.plots.dose",
    "WhyOptions": "ralr_viz.workflows.why",
    "average_states": "ralr_viz.analysis.averaging",
    "draw_over_time": "ralr_viz.plots.over_time",
    "evaluate_kept": "ralr_viz.analysis.learning",
    "over_time": "ralr_viz.workflows.over_time",
    "task": "ralr_viz.tasks.own",
    "translate": "ralr_viz.analysis.translations",
    "why": "ralr_viz.workflows.why",
}

_HOME = _FIXED | {name: home for noun in NOUNS.values() for name, home in noun.public_names.items()}

__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(importlib.import_module(_HOME[name]), name)
        if not name.startswith("draw_"):
            return found
        from ralr_viz.plots.default_style import draw_styled

        return draw_styled(found)
    raise AttributeError(f"module `ralr_viz` has no attribute `{name}`")
