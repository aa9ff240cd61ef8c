"""What can be computed and drawn: one row a noun in `table`, its own options in a file of its name."""

from __future__ import annotations

from ralr_viz.nouns.noun import Inputs, Noun, Spec
from ralr_viz.nouns.option import Option, check
from ralr_viz.nouns.table import NOUNS

__all__ = ["NOUNS", "Inputs", "Noun", "Option", "Spec", "check"]
