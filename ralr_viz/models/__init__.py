"""Networks: one architecture a file, built by name, and the weights that others published for them."""

from ralr_viz.models.registry import build_model, check_model, model_names
from ralr_viz.models.weights import adapt_state_dict, guess_arch

__all__ = ["adapt_state_dict", "build_model", "check_model", "guess_arch", "model_names"]
