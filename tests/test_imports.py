"""No module needs another that needs it: what both need lies below both."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ralr_viz

ROOT = Path(ralr_viz.__file__).parent


def read_imports(root: Path) -> dict[str, set[str]]:
    """The modules of a package that each imports anywhere: in a function and for its types, too."""
    modules = {}
    for file in root.rglob("*.py"):
        parts = (root.name, *file.relative_to(root).with_suffix("").parts)
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found: dict[str, set[str]] = {}
    for name, file in modules.items():
        imported = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively, which this test does not read"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    imported.add(whole if whole in modules else str(node.module))
        found[name] = imported & modules.keys()
    return found


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_modules_import_in_no_circle() -> None:
    imports = read_imports(ROOT)
    assert len(imports) > 200 and "ralr_viz.errors" in imports["ralr_viz.recipe.recipe"]
    assert find_circle(imports) == []


@pytest.mark.parametrize(
    "text",
    [
        "from p.a import x",
        "import p.a",
        "def f():\n    from p import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import x",
    ],
)
def test_read_imports_sees_every_kind_of_circle(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").mkdir()
    for name, content in (("__init__", ""), ("a", "from p.b import y"), ("b", text)):
        (tmp_path / "p" / f"{name}.py").write_text(content)
    assert set(find_circle(read_imports(tmp_path / "p"))) == {"p.a", "p.b"}
