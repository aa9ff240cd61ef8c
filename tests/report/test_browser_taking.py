"""One page with a control on a telephone: its first screen, its tables, and what can be taken out of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.page import build_report

MAPPED = 30


@pytest.fixture(scope="module")
def inputs(make_inputs: Callable[..., ReportInputs], make_images: Callable[..., np.ndarray]) -> ReportInputs:
    """Thirty images in the maps, and twelve more that only the gallery shows."""
    found = make_inputs(sides=3, n=90, sampled=MAPPED)
    assert found.indices is not None and found.boxes is not None
    more = np.setdiff1d(np.arange(90), found.indices)[:12]
    return replace(
        found,
        indices=np.concatenate([found.indices, more]),
        images=make_images(MAPPED + 12, (32, 32)),
        boxes=None,
        num_random=MAPPED,
    )


@pytest.fixture(scope="module")
def opened(
    new_page: Callable[..., Any], inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    file = tmp_path_factory.mktemp("taking") / "report.html"
    file.write_text(build_report(inputs), encoding="utf-8")
    page = new_page(file, viewport={"width": 390, "height": 844})
    page.wait("document.documentElement.dataset.gallery === 'ready'")
    yield page
    page.context.close()


def save(opened: Any, selector: str, path: Path) -> Path:
    with opened.page.expect_download() as download:
        opened.page.locator(selector).first.click()
    download.value.save_as(path)
    return path


def test_first_screen_shows_images_of_both_kinds_and_links_to_them(opened: Any, inputs: ReportInputs) -> None:
    titles = opened.page.locator("#first-pictures h3").all_inner_texts()
    assert titles == ["Fixed by RALR: wrong in baseline", "Broken by RALR: right in baseline"]
    links = opened.page.locator("#first-pictures a").evaluate_all(
        "all => all.map((a) => a.getAttribute('href'))"
    )
    a, b = (
        (side.predictions.predicted == side.predictions.labels)  # type: ignore[union-attr]
        for side in inputs.sides[:2]
    )
    chosen = [int(link.removeprefix("#image=")) for link in links]
    assert [bool(b[i]) for i in chosen] == [True, True, False, False] and all(a[i] != b[i] for i in chosen)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_tables_that_scroll_say_so_and_show_the_difference_first(opened: Any) -> None:
    area = opened.page.locator("[aria-label='Scores over images']")
    hint = area.locator("xpath=preceding-sibling::p[1]").locator(".scroll-hint")
    assert hint.is_visible() and "scrolls" in hint.inner_text()
    for selector in (
        "[aria-label='Scores over images'] td.n",
        "#classes-table td.n",
        "[aria-labelledby='map-numbers'] td.n",
    ):
        box = opened.page.locator(selector).first.bounding_box()
        assert box["x"] + box["width"] <= 390, selector


def test_tables_charts_and_selected_images_can_be_taken_out(opened: Any, tmp_path: Path) -> None:
    file = save(opened, "[aria-label='CSV: Scores over images']", tmp_path / "scores.csv")
    with file.open(newline="") as text:
        row = next(csv.DictReader(text))
    names = ("RALR − baseline", "RALR − baseline, low", "RALR − baseline, high")
    value, low, high = (float(row[name]) for name in names)
    assert low < value < high
    for type_ in ("png", "svg"):
        save(opened, f"[aria-label='{type_.upper()}: curves-loss']", tmp_path / f"loss.{type_}")
    picture = Image.open(tmp_path / "loss.png").convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255) and picture.getextrema() != ((255, 255),) * 3
    drawn = (tmp_path / "loss.svg").read_text()
    assert drawn.count("<path") > 5 and "test loss" in drawn and "<image" not in drawn
    opened.page.evaluate("report.model('map-points').selected.indices = [1, 2, 3, 4]")
    sheet = Image.open(save(opened, "#map-list-sheet", tmp_path / "sheet.png"))
    assert sheet.width == 3 * 2 * 184 and sheet.height % 2 == 0


def test_link_to_an_image_opens_it_though_it_is_in_no_map(opened: Any, inputs: ReportInputs) -> None:
    assert inputs.indices is not None
    wanted = int(inputs.indices[-1])
    opened.page.evaluate(f"location.hash = '#image={wanted}'")
    opened.wait(f"document.getElementById('map-card-body').dataset.image === '{wanted}'")
    card = opened.page.locator("#map-card-body")
    assert "not in them: chosen by outcome" in card.inner_text()
    assert card.locator("a").get_attribute("href") == f"#image={wanted}"
    opened.page.locator("[data-panel='0']").focus()
    opened.page.keyboard.press("PageDown")  # the keys go on in the maps
    assert card.get_attribute("data-image") == str(inputs.indices[0])
    drawn = opened.page.locator("[data-group='random'] li").evaluate_all(
        "all => all.map((one) => +one.dataset.image)"
    )
    assert set(drawn) <= set(inputs.indices[:MAPPED].tolist())
    assert opened.errors == []
