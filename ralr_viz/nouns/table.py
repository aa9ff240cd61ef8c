"""The table of nouns: public names, commands, `why` and the tests of what nouns promise are made from it."""

from __future__ import annotations

from ralr_viz.nouns.noun import ANY, Noun

_ROWS = (
    Noun("activations", "pairs", cost=25, tasks=("classification", "translation")),
    Noun("similarity", "pairs and nulls", cost=8, tasks=("classification", "translation")),
    Noun("distance", "pairs and nulls"),
    Noun("cam", "pictures"),
    Noun("barrier", "pairs", cost=22, tasks=ANY),
    Noun("sharpness", "networks", cost=70, tasks=ANY),
    Noun("spectrum", "networks", cost=540, tasks=ANY),
    Noun("noise_scale", "networks", tasks=ANY),
    Noun("landscape", "networks or path", cost=85, tasks=ANY),
    Noun("calibration", "networks", cost=15),
    Noun("embedding", "networks", command="embed", tasks=("classification", "translation")),
    Noun("localisation", "networks", cost=20),
    Noun("movement", "runs", cost=20, tasks=ANY),
    Noun("effect", "runs", cost=1, tasks=ANY),
    Noun("learning", "runs"),
    Noun("collapse", "networks", cost=20),
    Noun("fork", "state", cost=10_000, tasks=ANY, trains=True),
    Noun("detect", "detectors", tasks=("detection",)),
    Noun("detection_errors", "detectors", tasks=("detection",)),
    Noun("curves", "logs", tasks=ANY),
    Noun("bleu", "networks", tasks=("translation",)),
    Noun("attention", "networks", tasks=("translation",)),
)
NOUNS = {noun.name: noun for noun in _ROWS}
