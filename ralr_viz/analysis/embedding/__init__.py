"""Maps of penultimate features, and how well their classes separate."""

from ralr_viz.analysis.embedding.embedding import compute_embedding

__all__ = ["compute_embedding"]
