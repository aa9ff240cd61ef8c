"""The table of nouns: public names, commands, `why` and the tests of what nouns promise are made from it."""

from __future__ import annotations

from ralr_viz.nouns.noun import Noun

_ROWS = (
    Noun("activations", "pairs"),
    Noun("similarity", "pairs and nulls", cost=40),
    Noun("cam", "pictures"),
    Noun("barrier", "pairs", cost=100),
    Noun("sharpness", "networks", cost=150),
    Noun("spectrum", "networks", cost=450),
    Noun("noise_scale", "networks"),
    Noun("landscape", "networks or path", cost=150),
    Noun("calibration", "networks", cost=60),
    Noun("embedding", "networks", command="embed"),
    Noun("localisation", "networks", cost=60),
    Noun("movement", "runs", cost=60),
    Noun("effect", "runs", cost=5),
    Noun("collapse", "networks", cost=60),
    Noun("fork", "state"),
    Noun("curves", "logs"),
)
NOUNS = {noun.name: noun for noun in _ROWS}
