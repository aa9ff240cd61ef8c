"""The page as a file: complete, self-contained, escaped, the same for equal inputs."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from bokeh.models import ColumnDataSource
from jinja2 import UndefinedError
from markupsafe import Markup

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.plots.style import COLORS
from ralr_viz.report.chart import new_chart
from ralr_viz.report.inputs import SECTIONS, ReportInputs, Side, side_colors, whose_checkpoints
from ralr_viz.report.page import _BUILDERS, assemble_page, build_report
from ralr_viz.report.section import (
    Section,
    dump_json,
    format_number,
    mark_code,
    missing_section,
    render_template,
)

EVIL = "<script>window.hurt = 1</script>"  # one of the classes


class Reader(HTMLParser):
    """Elements, their attributes, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.headings = [], [], []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        if self._inside in ("h1", "h2"):
            self.headings[-1] += data

    def ids(self):
        return [attrs["id"] for _, attrs in self.elements if "id" in attrs]


@pytest.fixture(scope="module")
def page(make_inputs):
    return build_report(make_inputs(seeds=(0, 1)))


def test_page_has_all_sections_in_order_with_unique_ids_and_links_to_them(page):
    read = Reader(page)
    sections = [attrs.get("id") for tag, attrs in read.elements if tag == "section"]
    assert tuple(key for key in sections if key in SECTIONS) == SECTIONS
    ids = read.ids()
    assert len(set(ids)) == len(ids)
    links = [attrs["href"] for tag, attrs in read.elements if tag == "a" and "href" in attrs]
    assert {f"#{key}" for key in SECTIONS} <= set(links) and "#main" in links
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    assert read.headings[0] == "RALR against baseline"
    assert ("html", {"lang": "en"}) in read.elements
    labelled = [a["aria-labelledby"] for t, a in read.elements if t == "section" and "aria-labelledby" in a]
    assert set(labelled) <= set(ids)


def test_page_loads_nothing(page):
    read = Reader(page)
    for tag, attrs in read.elements:
        assert tag not in ("link", "iframe", "base", "form", "object"), tag
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:", "blob:")), (tag, attrs[name])
    policy = next(a["content"] for t, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "http" not in policy and "connect-src" not in policy
    assert not re.search(
        r"@import|url\((?!['\"]?data:)", "".join(re.findall(r"<style>.*?</style>", page, re.S))
    )


def test_page_escapes_class_names_everywhere(page):
    read = Reader(page)
    assert EVIL not in page
    assert "&lt;script&gt;window.hurt = 1&lt;/script&gt;" in page
    content = next(
        s for s, (t, a) in zip(read.scripts, scripts_of(read), strict=True) if a.get("id") == "data-page"
    )
    assert json.loads(content)["classNames"][1] == EVIL


def scripts_of(read):
    return [(tag, attrs) for tag, attrs in read.elements if tag == "script"]


def test_page_escapes_names_paths_and_recipes(make_inputs):
    inputs = make_inputs()
    run = dataclasses.replace(
        inputs.sides[0].runs[0],
        recipe={"recipe": EVIL, "method": EVIL, "seed": 0, EVIL: EVIL},
        recipe_name=EVIL,
        env={"torch": EVIL},
    )
    side = dataclasses.replace(
        inputs.sides[0], name=EVIL, runs=(run,), checkpoint={"label": EVIL, "arch": EVIL, "sha256": EVIL}
    )
    verdict = dataclasses.replace(inputs.verdict, names=(EVIL, "b"))
    sides = (side, inputs.sides[1])
    changed = make_inputs(
        sides=2,
        verdict=verdict,
        curves=compute_curves([r for s in sides for r in s.runs]),
        missing={"why": EVIL, "activations": EVIL},
        command=EVIL,
        notes=(EVIL,),
        sampling=EVIL,
    )
    page = build_report(dataclasses.replace(changed, sides=sides))
    assert EVIL not in page and page.count("&lt;script&gt;window.hurt") > 10


def test_page_repeats_to_the_byte_whatever_was_built_before(make_inputs):
    first, second = build_report(make_inputs()), build_report(make_inputs())
    assert first == second
    figures = json.loads(re.search(r'id="data-figures">(.*?)</script>', first)[1])
    models = re.findall(r'"id": "(\w+)"', json.dumps(figures["document"]))
    assert set(figures["roots"]) <= set(models) and all(re.fullmatch(r"m\d+", m) for m in models)
    assert all(f'id="{element}"' in first for element in figures["roots"].values())


def test_page_of_one_side_compares_nothing(make_inputs):
    page = build_report(make_inputs(sides=1))
    assert "<h1>baseline</h1>" in page and "against" not in Reader(page).headings[0]
    assert "What differs in the recipes" not in page


def test_page_with_everything_missing_says_what_to_run(make_inputs):
    inputs = make_inputs()
    keys = ("verdict", *SECTIONS[1:-1], "why")
    bare = dataclasses.replace(
        inputs,
        sides=tuple(dataclasses.replace(side, predictions=None, runs=()) for side in inputs.sides),
        verdict=None,
        curves=None,
        embedding=None,
        images=None,
        indices=None,
        activations=None,
        sampling="",
        missing={key: f"run `ralr-viz {key}`" for key in keys},
    )
    page = build_report(bare)
    for key in SECTIONS[:-1]:
        assert f"<code>ralr-viz {key}</code>" in page
    assert len(page) < 200_000  # no chart, no Bokeh


def test_sections_share_one_document_and_so_their_sources():
    source = ColumnDataSource({"x": [1.0], "y": [2.0]}, name="common")
    sections = []
    for name in ("one", "two"):
        chart = new_chart(name)
        chart.scatter("x", "y", source=source)
        html = Markup(f'<div id="figure-{name}"></div>')
        sections.append(Section(name, name, html, {name: chart}))
    page = assemble_page(sections, ReportInputs((Side("a"),)))
    document = re.search(r'id="data-figures">(.*?)</script>', page)[1]
    assert document.count('"name":"common"') == 1
    assert document.count('"name":"Figure"') == 2


def test_scripts_and_styles_are_inlined_once():
    one = Section("one", "one", Markup(""), scripts=("classes.js",))
    two = Section("two", "two", Markup(""), scripts=("classes.js",))
    page = assemble_page([one, two], ReportInputs((Side("a"),)))
    assert page.count("Sort, filter and choose classes") == 1


def test_dump_json_is_safe_in_a_script_and_reads_back():
    value = {"a": "</script><!--&\u2028", "b": [np.float32(1.5), float("nan"), np.arange(2)], 3: (True, None)}
    text = dump_json(value)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--&\u2028", "b": [1.5, None, [0, 1]], "3": [True, None]}


def test_templates_escape_and_refuse_what_is_not_given():
    assert "&lt;b&gt;" in render_template("missing.html", reason="<b>")
    with pytest.raises(UndefinedError):
        render_template("missing.html")
    section = missing_section("why", "Why", "run `a <b>`")
    assert section.html.strip() == '<p class="missing">Not here: run <code>a &lt;b&gt;</code>.</p>'


@pytest.mark.parametrize(
    ("text", "html"),
    [("a `b` c", "a <code>b</code> c"), ("a ` <", "a ` &lt;"), ("`<`", "<code>&lt;</code>"), ("", "")],
)
def test_mark_code_marks_pairs_of_backticks(text, html):
    assert mark_code(text) == html


def test_format_number_has_a_true_minus():
    assert format_number(-1.234) == "−1.23" and format_number(float("nan")) == "–"
    assert format_number(0.5, "+.1f") == "+0.5"


def test_side_colors_are_those_of_the_figures_and_never_equal():
    assert side_colors([Side("a", "baseline"), Side("b", "ralr")]) == [COLORS["baseline"], COLORS["ralr"]]
    same = side_colors([Side("ralr (1)", "ralr"), Side("ralr (2)", "ralr")])
    assert len(set(same)) == 2


def test_report_imports_no_torch():
    code = "import sys, ralr_viz.report.page; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_sections_of_checkpoints_say_whose_they_are(make_inputs):
    def told(inputs):
        return {s.key: s.whose for s in (build(inputs) for build in _BUILDERS.values()) if s.whose}

    four = make_inputs(seeds=(0, 1, 2, 3), n=20)
    assert told(four) == dict.fromkeys(
        ("embeddings", "classes", "gallery", "activations"), "Of seed 0's checkpoints (1 of 4)."
    )
    assert build_report(four).count('<p class="note whose">Of seed 0&#39;s checkpoints (1 of 4).</p>') == 4
    a, b = four.sides
    other = dataclasses.replace(b, runs=b.runs[:1], checkpoint={**b.checkpoint, "seed": 2})
    assert whose_checkpoints((a, other)) == "Of the checkpoints of baseline, seed 0 (1 of 4); RALR, seed 2."
    assert whose_checkpoints((a, dataclasses.replace(b, runs=(), checkpoint={}))) == ""
    assert whose_checkpoints((other,)) == "Of seed 2's checkpoint."


def test_sections_that_the_task_does_not_have_are_neither_there_nor_in_the_navigation(make_inputs):
    page = build_report(make_inputs(n=20, absent=frozenset({"embeddings", "classes", "activations"})))
    sections = [attrs.get("id") for tag, attrs in Reader(page).elements if tag == "section"]
    assert [key for key in sections if key in SECTIONS] == ["verdict", "curves", "gallery", "provenance"]
    assert 'href="#classes"' not in page and 'href="#gallery"' in page
