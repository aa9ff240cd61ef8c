"""Class activation maps against bounding boxes, and whether the maps say anything of the network."""

from ralr_viz.analysis.localisation.localisation import compute_localisation

__all__ = ["compute_localisation"]
