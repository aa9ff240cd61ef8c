"""What is written beside the weights."""

from __future__ import annotations

import json
from pathlib import Path

from ralr_viz.train.storage import write_json


def test_write_json_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"class_names": ["caf\udce9", "猫"]})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert "猫" in text and json.loads(text) == {"class_names": ["caf\udce9", "猫"]}
