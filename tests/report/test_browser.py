"""Reports in a real headless Chromium, offline, from ``file://``: what is seen is what the results say."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.plots.activations import drawn_bins
from ralr_viz.plots.cam import _diverge, overlay_maps
from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.page import build_report
from ralr_viz.report.samples import pack_samples
from ralr_viz.results.cam import normalise_cam, unit_mass_maps

Open = Callable[..., Any]
MAPS_READY = "document.documentElement.dataset.maps === 'ready'"
GALLERY_READY = "document.documentElement.dataset.gallery === 'ready'"


@pytest.fixture(scope="module")
def inputs(make_inputs: Callable[..., ReportInputs]) -> ReportInputs:
    return make_inputs(n=120, sampled=40)


@pytest.fixture(scope="module")
def path(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(inputs, tmp_path_factory.mktemp("pair") / "report.html")


@pytest.fixture(scope="module")
def shared(new_page: Open, path: Path) -> Iterator[Any]:
    page = ready(new_page(path))
    yield page
    page.context.close()


@pytest.fixture
def opened(shared: Any) -> Any:
    """The report of the pair as if it had just been opened, which takes seconds."""
    shared.page.evaluate(
        """() => {
          report.setClass(null);
          report.model("map-points").selected.indices = [];
          const press = new KeyboardEvent("keydown", { key: "Escape" });
          document.querySelector(".map-keys").dispatchEvent(press);
          for (const select of document.querySelectorAll("select")) {
            const usual = [...select.options].find((option) => option.defaultSelected) ?? select.options[0];
            select.value = usual.value;
            select.dispatchEvent(new Event("change"));
          }
          history.replaceState(null, "", location.pathname);
          scrollTo(0, 0);
        }"""
    )
    shared.page.mouse.move(1, 1)
    return shared


def write(inputs: ReportInputs, path: Path) -> Path:
    path.write_text(build_report(inputs), encoding="utf-8")
    return path


def ready(opened: Any) -> Any:
    opened.wait(f"{MAPS_READY} && {GALLERY_READY}")
    return opened


def right(inputs: ReportInputs) -> np.ndarray:
    """Whether each side is right on each sampled image, (sides, n)."""
    found = [side.predictions for side in inputs.sides]
    return np.stack([(p.logits.argmax(1) == p.labels)[inputs.indices] for p in found if p is not None])


def isolated(inputs: ReportInputs, panel: int) -> int:
    """The point of a map that is furthest from all others, so that no other is nearer to the pointer."""
    places = inputs.embedding.coordinates[panel]  # type: ignore[union-attr]
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.diag([np.inf] * len(places))
    return int(apart.min(1).argmax())


def hover(opened: Any, panel: int, i: int) -> None:
    """Move the mouse there as a hand does."""
    opened.page.locator(f"[data-panel='{panel}']").scroll_into_view_if_needed()
    x, y = opened.point(panel, i)
    opened.page.mouse.move(x - 40, y - 30)
    opened.page.mouse.move(x + 3, y - 2, steps=4)


def shown_images(opened: Any, selector: str) -> list[int]:
    return opened.page.locator(selector).evaluate_all("all => all.map((one) => Number(one.dataset.image))")


def check_quiet(opened: Any) -> None:
    """No error, no warning, and nothing asked for but the file and what is in it."""
    assert opened.errors == []
    asked = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert {url.partition("#")[0] for url in asked} == {opened.url}


def test_report_opens_offline_without_error_or_request(opened: Any) -> None:
    opened.page.mouse.wheel(0, 20_000)
    assert opened.page.locator("h1").inner_text() == "RALR against baseline"
    for panel in (0, 1):
        box = opened.page.locator(f"#figure-map-{panel}").bounding_box()
        assert box["width"] > 300 and box["height"] > 250
    check_quiet(opened)


@pytest.mark.parametrize(
    "changes",
    [
        {"sides": 1},
        {"boxes": False, "maps": False},
        {"embedding": None},
        {"embedding": None, "activations": None, "curves": None, "verdict": None, "images": None},
    ],
    ids=["one network", "no boxes, no maps", "no map", "hardly anything"],
)
def test_report_with_less_opens_without_error(
    make_inputs: Callable[..., ReportInputs], open_page: Open, tmp_path: Path, changes: dict[str, Any]
) -> None:
    few = make_inputs(n=30, **changes)
    page = open_page(write(few, tmp_path / "report.html"))
    if few.images is not None:
        page.wait(GALLERY_READY)
        assert len(shown_images(page, "[data-group='random'] li")) == 8
    if few.embedding is not None:
        page.wait(MAPS_READY)
        hover(page, 0, isolated(few, 0))
        page.page.wait_for_selector("#map-card canvas")
        pictures = page.page.locator("#map-card figcaption").all_inner_texts()
        assert pictures == (["image", "baseline"] if len(few.sides) == 1 else ["image"])
    check_quiet(page)


@pytest.mark.parametrize("panel", [0, 1])
def test_hovering_a_point_shows_its_image_and_numbers_and_its_places(
    opened: Any, inputs: ReportInputs, panel: int
) -> None:
    i = isolated(inputs, panel)
    index = int(inputs.indices[i])  # type: ignore[index]
    hover(opened, panel, i)
    opened.wait("(index) => document.getElementById('map-card-body').dataset.image === String(index)", index)
    text = opened.page.locator("#map-card").inner_text()
    assert f"{pack_samples(inputs)['classNames'][inputs.embedding.labels[i]]}" in text  # type: ignore[index,union-attr]
    for side in inputs.sides:
        p = side.predictions
        assert p is not None
        mark = "✓" if p.predicted[index] == p.labels[index] else "✗"
        name = pack_samples(inputs)["classNames"][p.predicted[index]]  # type: ignore[index]
        assert f"{mark} {name} {p.probabilities[index].max():.3f}" in text
        if mark == "✗":
            assert f"true class {p.true_probability[index]:.3f}" in text
    assert f"{inputs.embedding.kept[1, i]:.3f} kept" in text  # type: ignore[union-attr]
    cursor = opened.page.evaluate("Object.fromEntries(Object.entries(report.model('map-cursor').data))")
    for other in (0, 1):
        place = [cursor[f"{axis}{other}"][0] for axis in "xy"]
        np.testing.assert_allclose(place, inputs.embedding.coordinates[other, i], rtol=1e-6)  # type: ignore[union-attr]
    check_quiet(opened)


def test_pointer_chooses_the_nearest_point(opened: Any, inputs: ReportInputs) -> None:
    opened.page.locator("[data-panel='0']").scroll_into_view_if_needed()
    places = np.array([opened.point(0, i) for i in range(40)])
    for i in range(0, 40, 3):
        pointer = places[i] + [6, -3]
        opened.page.mouse.move(*pointer)
        apart = np.linalg.norm(places - pointer, axis=1)
        nearest = int(inputs.indices[apart.argmin()])  # type: ignore[index]
        if np.diff(np.sort(apart)[:2]) > 1:  # pixel
            shown = "(index) => document.getElementById('map-card-body').dataset.image === String(index)"
            opened.wait(shown, nearest)


def test_pictures_of_a_point_are_its_image_its_maps_and_their_difference(
    opened: Any, inputs: ReportInputs
) -> None:
    i = 0  # the image without a box, which would cover pixels
    opened.page.evaluate("report.showImage(0)")
    opened.page.wait_for_selector("#map-card canvas >> nth=3")
    seen = [opened.pixels(f"#map-card .picture:nth-child({k}) canvas") for k in (1, 2, 3, 4)]
    assert {pixels.shape for pixels in seen} == {(128, 128, 3)}
    small = [pixels[2::4, 2::4] for pixels in seen]  # each pixel of the image is four across
    assert inputs.images is not None
    image = inputs.images[i].astype(float)
    assert np.abs(small[0] - image).mean() < 12
    assert np.abs(small[0] - inputs.images[1]).mean() > 25
    grey = small[0] @ [0.299, 0.587, 0.114] / 255
    raw = [side.predictions.true_maps[inputs.indices[i : i + 1]] for side in inputs.sides]  # type: ignore[union-attr,index]
    for pixels, maps in zip(small[1:3], raw, strict=True):
        expected = 255 * overlay_maps(normalise_cam(maps, (32, 32))[0], grey)
        assert np.abs(pixels - expected).max() < 6
    assert np.abs(small[1] - small[2]).mean() > 10
    unit = [unit_mass_maps(maps, (32, 32))[0] for maps in raw]
    limit = pack_samples(inputs)["differenceLimit"] / 32**2  # type: ignore[index]
    expected = 255 * _diverge(unit[1] - unit[0], limit)
    assert np.abs(small[3] - expected).mean() < 4


def test_box_is_drawn_where_the_object_is(opened: Any, inputs: ReportInputs) -> None:
    opened.page.evaluate("report.showImage(1)")
    opened.page.wait_for_selector("#map-card canvas")
    boxed = opened.pixels("#map-card canvas")
    x0, y0, x1, y1 = inputs.boxes[1]  # type: ignore[index]
    on_edge = boxed[4 * (y0 + y1) // 2, 4 * x0]
    assert (on_edge > 200).all()  # white
    image = np.kron(inputs.images[1], np.ones((4, 4, 1)))  # type: ignore[index]
    inside = np.s_[4 * y0 + 6 : 4 * y1 - 4, 4 * x0 + 6 : 4 * x1 - 4]
    assert np.abs(boxed[inside] - image[inside]).mean() < 14


def test_colours_by_who_is_right_have_the_counts_of_the_results(opened: Any, inputs: ReportInputs) -> None:
    opened.page.select_option("#map-mode", "correct")
    a, b = right(inputs)
    counts = [(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()]
    texts = opened.page.locator("#map-legend > span").all_inner_texts()
    names = ("both", "baseline only", "RALR only", "neither")
    assert texts == [f"right in {name} ({count})" for name, count in zip(names, counts, strict=True)]
    markers = np.array(opened.page.evaluate("report.model('map-points').get_array('marker')"))
    assert [(markers == shape).sum() for shape in ("circle", "triangle", "square", "diamond")] == counts
    assert "colour=correct" in opened.page.url
    opened.page.select_option("#map-mode", "kept")
    colors = opened.page.evaluate("report.model('map-points').get_array('color')")
    kept = inputs.embedding.kept[1]  # type: ignore[union-attr]
    lowest, highest = colors[int(kept.argmin())], colors[int(kept.argmax())]
    assert lowest != highest
    check_quiet(opened)


def test_selecting_by_a_box_lists_the_images_of_both_maps(opened: Any, inputs: ReportInputs) -> None:
    places = inputs.embedding.coordinates[0]  # type: ignore[union-attr]
    opened.page.locator("[data-panel='0']").scroll_into_view_if_needed()
    low, high = np.quantile(places, 0.2, axis=0), np.quantile(places, 0.8, axis=0)
    corners = opened.page.evaluate(
        """([low, high]) => {
          const view = Bokeh.index.find_one(report.model("map-0")), at = view.el.getBoundingClientRect();
          return [low, high].map(([x, y]) =>
            [at.x + view.frame.x_scale.compute(x), at.y + view.frame.y_scale.compute(y)]);
        }""",
        [low.tolist(), high.tolist()],
    )
    opened.page.mouse.move(*corners[0])
    opened.page.mouse.down()
    opened.page.mouse.move(*corners[1], steps=5)
    opened.page.mouse.up()
    opened.page.wait_for_selector("#map-list button")
    inside = np.flatnonzero(((places > low) & (places < high)).all(1))
    edge = np.flatnonzero((np.abs(places - low) < 0.3).any(1) | (np.abs(places - high) < 0.3).any(1))
    listed = shown_images(opened, "#map-list button")
    indices = list(inputs.indices)  # type: ignore[arg-type]
    wrong = {indices.index(image) for image in listed} ^ set(inside.tolist())
    assert len(listed) > 5 and wrong <= set(edge.tolist())  # pixels are coarser than places
    assert opened.page.locator("#map-list-count").inner_text() == f"{len(listed)} images"
    opened.page.locator("#map-list button").first.click()
    assert opened.page.locator("#map-card-body").get_attribute("data-image") == str(listed[0])
    opened.page.locator("#map-list-clear").click()
    opened.page.wait_for_selector("#map-list button", state="detached")
    check_quiet(opened)


def test_choosing_a_class_filters_maps_list_and_gallery_and_is_in_the_address(
    opened: Any, open_page: Open, path: Path, inputs: ReportInputs
) -> None:
    label = 1  # the one called <script>
    labels = inputs.embedding.labels  # type: ignore[union-attr]
    of_class = set(np.array(inputs.indices)[labels == label].tolist())
    opened.page.locator(f"#classes-table tr[data-label='{label}'] button.choose").click()
    for page in (opened, ready(open_page(path, f"#class={label}"))):
        page.page.locator("#map-list-shown").click()
        page.page.wait_for_selector("#map-list button")
        assert set(shown_images(page, "#map-list button")) == of_class
        assert set(shown_images(page, "[data-group='random'] li")) <= of_class
        alpha = np.array(page.page.evaluate("Array.from(report.model('map-points').get_array('alpha'))"))
        assert (alpha[labels == label] > 0.3).all() and (alpha[labels != label] < 0.1).all()
        assert page.page.locator("#map-legend > span").all_inner_texts() == [
            "<script>window.hurt = 1</script>"
        ]
    other = int(np.flatnonzero(labels != label)[0])
    hover(opened, 0, other)
    opened.page.wait_for_timeout(200)
    assert opened.page.locator("#map-card-body").get_attribute("data-image") != str(inputs.indices[other])  # type: ignore[index]
    assert f"class={label}" in opened.page.url
    opened.page.locator("#filter-clear").click()
    assert len(shown_images(opened, "#map-list button")) == len(of_class)  # the selection is as it was
    check_quiet(opened)


def test_class_names_are_text_and_never_run(opened: Any) -> None:
    opened.page.evaluate("report.model('map-points').selected.indices = [...Array(40).keys()]")
    opened.page.wait_for_selector("#map-list button")
    assert opened.page.evaluate("window.hurt") is None
    assert "<script>window.hurt = 1</script>" in opened.page.locator("#map-list").inner_text()
    assert opened.page.locator("main script").count() == 0


def test_classes_table_sorts_by_numbers_both_ways_and_filters(opened: Any, inputs: ReportInputs) -> None:
    button = opened.page.locator("#classes-table thead button[data-column='difference']")
    rows = "#classes-table tbody tr:visible"
    scores = inputs.verdict.classes  # type: ignore[union-attr]
    for sign in (-1, 1):  # the largest first, then the smallest
        rank = np.argsort(sign * scores.difference[:, 0], kind="stable")
        button.click()
        found = opened.page.locator(rows).evaluate_all("all => all.map((one) => Number(one.dataset.label))")
        assert found == scores.labels[rank].tolist()
    opened.page.locator("#classes-filter").fill("quoted")
    assert opened.page.locator(rows).count() == 1
    assert 'a "quoted", name' in opened.page.locator(rows).inner_text()


def test_keys_step_through_the_maps_and_say_where_they_are(opened: Any, inputs: ReportInputs) -> None:
    area = opened.page.locator("[data-panel='1']")
    area.focus()
    chosen = lambda: opened.page.locator("#map-card-body").get_attribute("data-image")  # noqa: E731
    opened.page.keyboard.press("PageDown")
    assert chosen() == str(inputs.indices[0])  # type: ignore[index]
    live = opened.page.locator("#map-live")
    assert live.inner_text().startswith(f"Image {inputs.indices[0]}, ")  # type: ignore[index]
    assert "baseline says" in live.inner_text() and "neighbours kept" in live.inner_text()
    places = inputs.embedding.coordinates[1]  # type: ignore[union-attr]
    indices = [str(index) for index in inputs.indices]  # type: ignore[union-attr]
    for key, axis, sign in (
        ("ArrowRight", 0, 1),
        ("ArrowUp", 1, 1),
        ("ArrowLeft", 0, -1),
        ("ArrowDown", 1, -1),
    ):
        before = indices.index(chosen())
        opened.page.keyboard.press(key)
        after = indices.index(chosen())
        assert after == before or sign * (places[after] - places[before])[axis] > 0
    seen = set()
    opened.page.keyboard.press("Escape")
    for _ in indices:
        opened.page.keyboard.press("PageDown")
        seen.add(chosen())
    assert seen == set(indices)  # all of them can be reached
    opened.page.keyboard.press("Enter")
    assert f"image={indices[-1]}" in opened.page.url
    opened.page.keyboard.press("Space")
    opened.page.wait_for_selector("#map-list button")
    assert shown_images(opened, "#map-list button") == [int(indices[-1])]
    opened.page.keyboard.press("Escape")
    assert "image=" not in opened.page.url
    check_quiet(opened)


def test_keys_on_a_tool_operate_the_tool_and_not_the_map(opened: Any) -> None:
    opened.page.locator("[data-panel='0']").focus()
    opened.page.keyboard.press("PageDown")
    before = opened.page.locator("#map-card-body").get_attribute("data-image")
    tool = opened.page.locator("#figure-map-0 .bk-OnOffButton[title='Pan']")
    active = "(on) => report.model('map-0').toolbar.tools.find((t) => t.type === 'PanTool').active === on"
    for on in (True, False):
        tool.focus()
        opened.page.keyboard.press("Enter")
        opened.wait(active, on)
    tool.press("PageDown")
    assert opened.page.locator("#map-card-body").get_attribute("data-image") == before
    assert "image=" not in opened.page.url and opened.page.locator("#map-list button").count() == 0


def test_every_control_is_reached_by_tab(opened: Any) -> None:
    opened.page.locator("#map-mode").focus()
    reached = []
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        reached.append(
            opened.page.evaluate("document.activeElement.id || document.activeElement.dataset.panel || ''")
        )
    assert [one for one in reached if one in ("map-list-shown", "map-csv", "0", "1")][:2] == [
        "map-list-shown",
        "map-csv",
    ]
    assert {"0", "1"} <= set(reached)


def test_every_tab_stop_of_the_charts_has_a_name_and_a_role(opened: Any) -> None:
    stops = opened.page.evaluate(
        """() => {
          const found = [];
          const walk = (node) => {
            for (const one of node.querySelectorAll("*")) {
              if (one.tabIndex >= 0) found.push([one.className, one.getAttribute("role"), one.getAttribute("aria-label")]);
              if (one.shadowRoot !== null) walk(one.shadowRoot);
            }
          };
          document.querySelectorAll("[id^='figure-']").forEach(walk);
          return found;
        }"""
    )
    assert len(stops) > 10 and all(role == "button" and name for _, role, name in stops)
    assert opened.page.locator("[role='img'] [id^='figure-']").count() == 0  # an image has no parts
    pan = opened.page.locator("#figure-map-1").get_by_role("button", name="Pan", exact=True)
    assert pan.get_attribute("aria-pressed") == "false"
    pan.press("Enter")
    opened.page.locator("#figure-map-1 [aria-label='Pan'][aria-pressed='true']").wait_for()
    pan.press("Enter")


def test_gallery_shows_the_fixed_and_the_broken_in_the_order_of_the_change(
    opened: Any, inputs: ReportInputs
) -> None:
    a, b = right(inputs)
    p = np.stack([side.predictions.true_probability[inputs.indices] for side in inputs.sides])  # type: ignore[union-attr]
    change = np.abs(p[1] - p[0])
    for key, belongs in (("fixed", ~a & b), ("broken", a & ~b)):
        rank = sorted(np.flatnonzero(belongs), key=lambda i: -change[i])
        expected = [int(inputs.indices[i]) for i in rank][:8]  # type: ignore[index]
        assert expected and shown_images(opened, f"[data-group='{key}'] li") == expected
        count = opened.page.locator(f"[data-group='{key}'] .count").inner_text()
        assert count == f"{len(expected)} shown of {belongs.sum()} among the 40 on this page."
    random = shown_images(opened, "[data-group='random'] li")
    assert len(random) == 8 and random != sorted(random)
    opened.page.locator("[data-group='random'] .more").click()
    assert shown_images(opened, "[data-group='random'] li")[:8] == random
    assert len(shown_images(opened, "[data-group='random'] li")) == 16
    opened.page.locator("[data-group='fixed'] li button").first.click()
    shown = shown_images(opened, "[data-group='fixed'] li")[0]
    assert opened.page.locator("#map-card-body").get_attribute("data-image") == str(shown)
    check_quiet(opened)


def test_activations_follow_the_layer_and_the_epochs(opened: Any, inputs: ReportInputs) -> None:
    result = inputs.activations
    assert result is not None
    opened.page.select_option("#activations-layer", "0")
    bins = drawn_bins(result, 0)
    for row in (0, 1):
        top = opened.page.evaluate(f"report.model('activations-{row}-bars').data.top")
        total = result.num_images * result.units[row, 0]
        np.testing.assert_allclose(top, bins.counts[row, 0] / total / np.diff(bins.edges))
    assert opened.page.evaluate("report.model('activations-1').x_range.end") == bins.edges[-1]
    opened.page.locator("input.activations-state[value='earlier']").uncheck()
    visible = "['earlier', 'later'].map((state) => report.model('activations-0-' + state).visible)"
    assert opened.page.evaluate(visible) == [False, True]
    opened.page.locator("#activations summary").click()
    rows = opened.page.locator("#activations-bins tbody tr")
    assert rows.count() == len(bins.edges) - 1
    assert "layer=0" in opened.page.url
    check_quiet(opened)


def test_activations_captions_say_what_is_drawn_without_the_controls(opened: Any) -> None:
    caption = opened.page.locator("#activations figcaption").first
    opened.page.select_option("#activations-layer", "0")
    opened.page.locator("input.activations-state[value='earlier']").check()
    assert caption.inner_text().startswith("baseline, layer1: epoch 2 epoch 3 exact zeros:")
    opened.page.locator("input.activations-state[value='later']").uncheck()
    assert caption.inner_text().startswith("baseline, layer1: epoch 2 exact zeros:")
    opened.page.locator("input.activations-state[value='later']").check()
    opened.page.emulate_media(media="print")
    assert caption.locator(".swatch").first.is_visible() and opened.page.locator("#map-mode").is_hidden()
    opened.page.emulate_media(media="screen")


def test_csv_of_the_images_holds_the_results(opened: Any, inputs: ReportInputs, tmp_path: Path) -> None:
    with opened.page.expect_download() as download:
        opened.page.locator("#map-csv").click()
    download.value.save_as(tmp_path / "images.csv")
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["image"]) for row in rows] == list(inputs.indices)  # type: ignore[arg-type]
    p = inputs.sides[1].predictions
    assert p is not None and inputs.embedding is not None
    for i in (0, 7, 31):
        index = int(inputs.indices[i])  # type: ignore[index]
        row = rows[i]
        assert row["class"] == pack_samples(inputs)["classNames"][p.labels[index]]  # type: ignore[index]
        assert float(row["RALR true_probability"]) == pytest.approx(p.true_probability[index], rel=1e-6)
        assert float(row["RALR x"]) == pytest.approx(float(inputs.embedding.coordinates[1, i, 0]), rel=1e-6)
        assert float(row["neighbours_kept"]) == pytest.approx(float(inputs.embedding.kept[1, i]), rel=1e-6)


def test_state_of_a_mailed_address_is_restored(open_page: Open, path: Path, inputs: ReportInputs) -> None:
    index = int(inputs.indices[5])  # type: ignore[index]
    page = ready(open_page(path, f"#colour=kept&image={index}&layer=0"))
    assert page.page.locator("#map-mode").input_value() == "kept"
    assert page.page.locator("#map-card-body").get_attribute("data-image") == str(index)
    assert page.page.locator("#activations-layer").input_value() == "0"
    nonsense = ready(open_page(path, "#colour=x&image=y&layer=z&class=-1&sort=%3Cscript%3E"))
    check_quiet(nonsense)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_no_serious_violation(open_page: Open, path: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = ready(open_page(path, color_scheme=scheme))
    page.page.evaluate("report.showImage(0); report.model('map-points').selected.indices = [1, 2, 3]")
    page.page.wait_for_selector("#map-list button")
    page.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait("document.querySelectorAll('#curves-all tbody tr').length > 0")
    # the file forbids what is not in it; axe is put into the page by the browser, past that rule
    found = Axe().run(page.page).response["violations"]
    serious = [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []


@pytest.mark.parametrize("width", [400, pytest.param(1280, marks=pytest.mark.slow)])
def test_page_is_never_wider_than_the_window(open_page: Open, path: Path, width: int) -> None:
    page = ready(open_page(path, viewport={"width": width, "height": 800}))
    page.page.evaluate("report.showImage(0); report.model('map-points').selected.indices = [1, 2, 3]")
    page.page.wait_for_selector("#map-list button")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_report_prints_to_pdf(opened: Any) -> None:
    pdf = opened.page.pdf()
    assert pdf.startswith(b"%PDF") and len(pdf) > 50_000
    check_quiet(opened)


def test_report_of_a_dark_desktop_prints_light_charts_and_is_dark_again(open_page: Open, path: Path) -> None:
    page = ready(open_page(path, color_scheme="dark"))
    # the darkest of what is written left of the axis, in the very moment in which the browser takes the picture
    darkest = """(event) => {
      dispatchEvent(new Event(event));
      const view = Bokeh.index.find_one(report.model("curves-loss")), canvas = view.canvas_view.primary.canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, 60, canvas.height).data;
      let least = 255;
      for (let k = 0; k < data.length; k += 4) if (data[k + 3] > 200) least = Math.min(least, data[k + 1]);
      return least;
    }"""
    assert page.page.evaluate(darkest, "beforeprint") < 70
    assert page.page.evaluate(darkest, "afterprint") > 140
    page.page.emulate_media(media="print")  # the colours of the desktop stay dark
    ground = "getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()"
    assert page.page.evaluate(ground) == "#ffffff"


def test_report_of_unknown_labels_opens(
    make_inputs: Callable[..., ReportInputs], open_page: Open, tmp_path: Path
) -> None:
    few = make_inputs(sides=1, n=20)
    side = few.sides[0]
    assert side.predictions is not None
    unknown = replace(side.predictions, labels=np.full(20, -1))
    sides = (replace(side, predictions=unknown),)
    page = open_page(write(replace(few, sides=sides, embedding=None, verdict=None), tmp_path / "r.html"))
    page.wait(GALLERY_READY)
    assert "unknown" in page.page.locator("[data-group='random'] li").first.inner_text()
    check_quiet(page)
