"""The whole page: sections in their order, Bokeh and the scripts inline, nothing from anywhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ralr_viz._version import __version__
from ralr_viz.report import (
    activations,
    classes,
    curves,
    embeddings,
    gallery,
    learning,
    provenance,
    sentences,
    verdict,
)
from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.section import Section, dump_json, read_static, render_template

if TYPE_CHECKING:
    from bokeh.model import Model

_BUILDERS = {
    "verdict": verdict.build_verdict,
    "curves": curves.build_curves,
    "embeddings": embeddings.build_embeddings,
    "classes": classes.build_classes,
    "gallery": gallery.build_gallery,
    "activations": activations.build_activations,
    "provenance": provenance.build_provenance,
}

# `default-src 'none'` is what keeps a report that is mailed around from telling anybody that it was opened.
# Bokeh makes functions of its callbacks' text, which needs 'unsafe-eval'.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def build_report(inputs: ReportInputs) -> str:
    """The report as one HTML file that needs nothing else.

    Equal inputs give equal text.

    Args:
        inputs: Of one to three sides; what is missing of them is said in its place.
    """
    sections = [build(inputs) for key, build in _BUILDERS.items() if key not in inputs.absent]
    if inputs.bleu is not None:
        sections.insert(1, sentences.build_sentences(inputs))
    if inputs.learning is not None:
        sections.insert(-1, learning.build_learning(inputs))
    return assemble_page(sections, inputs)


def assemble_page(sections: Sequence[Section], inputs: ReportInputs) -> str:
    """Put sections into one page.

    Args:
        sections: In their order; keys and names of figures are unique.
        inputs: Of the title.
    """
    names = [side.name for side in inputs.pair]
    figures = {name: model for section in sections for name, model in section.figures.items()}
    document = _serialise(figures)
    library = _bokeh_scripts(list(figures.values()))
    scripts = dict.fromkeys(name for section in sections for name in section.scripts)
    styles = dict.fromkeys(name for section in sections for name in section.styles)
    page = {"classNames": inputs.class_names}
    return str(
        render_template(
            "page.html",
            title=" against ".join(reversed(names)),
            where=_where(inputs),
            policy=_POLICY,
            css=[Markup(read_static(name)) for name in ("page.css", *styles)],
            sections=sections,
            library=[Markup(text) for text in library],
            data={"page": dump_json(page), "figures": dump_json(document)}
            | {section.key: dump_json(section.data) for section in sections if section.data},
            scripts=[Markup(read_static(name)) for name in ("page.js", "take.js", *scripts)],
            generator=f"ralr-viz {__version__}",
        )
    )


def _where(inputs: ReportInputs) -> str:
    """Data set and split of the predictions, else of nothing."""
    control = f"; control: {inputs.control.name}" if inputs.control is not None else ""
    found = [side.predictions for side in inputs.sides if side.predictions is not None]
    if inputs.bleu is not None:
        return f"{len(inputs.bleu.rows):,} {inputs.bleu.split} sentences of {inputs.bleu.dataset}{control}"
    if not found:
        return control.removeprefix("; ")
    total = f" of {inputs.split_size:,}" if inputs.is_limited else ""
    n = f"{len(found[0].labels):,}{total} {found[0].split or 'given'} images"
    return (f"{n} of {found[0].dataset}" if found[0].dataset else n) + control


def _bokeh_scripts(models: list[Model]) -> list[str]:
    """Bokeh's own scripts, of the components that the models use."""
    from bokeh.embed.bundle import bundle_for_objs_and_resources
    from bokeh.resources import INLINE

    return list(bundle_for_objs_and_resources(models, INLINE).js_raw) if models else []


def _serialise(figures: dict[str, Model]) -> dict[str, Any]:
    """All models as one document, and the element of each root.

    Bokeh numbers its models through the life of the process, and draws the ids of elements at random; here
    they are numbered anew, so that equal inputs give equal bytes.
    """
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    if not figures:
        return {"document": None, "roots": {}}
    document = Document(title="report")
    with document.models.freeze():  # one look through all models, not one for each root
        for model in figures.values():
            document.add_root(model)
    numbers: dict[str, str] = {}
    content = _renumber(json.loads(serialize_json(document.to_json(deferred=False))), numbers)
    roots = {numbers[model.id]: f"figure-{name}" for name, model in figures.items()}
    document.clear()
    return {"document": content, "roots": roots}


_MODEL_ID = re.compile(r"p\d+")


def _renumber(value: Any, numbers: dict[str, str]) -> Any:
    """The same JSON with the ids of models, all under the key ``id``, in order of appearance."""
    if isinstance(value, dict):
        return {
            name: numbers.setdefault(item, f"m{len(numbers) + 1}")
            if name == "id" and isinstance(item, str) and _MODEL_ID.fullmatch(item)
            else _renumber(item, numbers)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_renumber(item, numbers) for item in value]
    return value
