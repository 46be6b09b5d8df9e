"""The pages in a real browser, at a desk and on a phone, light and dark: nothing overlaps, nothing sticks out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from analysis_cases import Case, make_case
from playwright.sync_api import Browser, Page, sync_playwright
from synthetic_aws import make_aws_run

from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.compare_page import write_comparison
from preheat.analysis.figures import draw_all
from preheat.analysis.page import render_page
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

WIDTHS = (1280, 390)
CHROMIUM = "/usr/bin/chromium"

VISIBLE_TEXTS = """
() => [...document.querySelectorAll('figure svg')].filter(svg => svg.getClientRects().length).map(svg => {
  const frame = svg.getBoundingClientRect();
  return {
    frame: [frame.left, frame.top, frame.right, frame.bottom],
    texts: [...svg.querySelectorAll('text')].filter(text => text.textContent.trim()).map(text => {
      const box = text.getBoundingClientRect();
      return { text: text.textContent.trim(), box: [box.left, box.top, box.right, box.bottom] };
    }),
  };
})
"""
BLOCKS = """
() => [...document.querySelectorAll('main > section, main > header, .tile')].map(block => {
  const box = block.getBoundingClientRect();
  return { name: block.className + ' ' + block.textContent.trim().slice(0, 30),
           box: [box.left, box.top, box.right, box.bottom] };
})
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One report for each way of labelling, and one without anything to show; comparisons of two and of many."""
    found = {}
    for name in ("typical", "refused", "empty"):
        case: Case = make_case(name, tmp_path_factory.mktemp(name))
        found[name] = case.folder
    for name, logs in (("joined", True), ("times", False)):
        folder = found[name] = tmp_path_factory.mktemp(name)
        run = make_aws_run(users=30, rtt_ms=120.0)
        (folder / "test_locust_logs.txt").write_text(run.locust_log())
        if logs:
            (folder / "insights.csv").write_text(run.insights_csv())
    for folder in found.values():
        study = load_study(folder)
        summary: dict[str, Any] = summarise(study, {})
        drawings = draw_all(study, summary, folder / "figures")
        (folder / "report.html").write_text(render_page(study, summary, cold_anatomies(study), drawings))
    reports = {name: folder / "report.html" for name, folder in found.items()}
    chosen = {"compared": ("joined", "typical"), "unlike": ("times", "joined", "empty")}
    for name, runs in chosen.items():
        folder = tmp_path_factory.mktemp(name)
        write_comparison([found[run] for run in runs], folder)
        reports[name] = folder / "compare.html"
    return reports


def opened(browser: Browser, file: Path, width: int, scheme: Any = "light") -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(file.as_uri())
    return page


def overlap(a: list[float], b: list[float], slack: float = 1.5) -> bool:
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["typical", "refused", "empty", "joined", "times", "compared", "unlike"])
def test_nothing_overlaps_or_sticks_out(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    page = opened(browser, pages[name], width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for svg in page.evaluate(VISIBLE_TEXTS):
        texts = svg["texts"]
        for index, one in enumerate(texts):
            left, top, right, bottom = one["box"]
            assert left >= svg["frame"][0] - 1, one
            assert right <= svg["frame"][2] + 1, one
            assert svg["frame"][1] - 1 <= top < bottom <= svg["frame"][3] + 1, one
            for other in texts[index + 1 :]:
                assert not overlap(one["box"], other["box"]), (one, other)
    blocks = page.evaluate(BLOCKS)
    for index, block in enumerate(blocks):
        assert not any(overlap(block["box"], other["box"]) for other in blocks[index + 1 :]), block["name"]
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["typical", "joined", "times", "compared", "unlike"])
def test_every_axis_says_its_unit(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    page = opened(browser, pages[name], width)
    for svg in page.evaluate(VISIBLE_TEXTS):
        words = " | ".join(text["text"] for text in svg["texts"])
        assert "(ms" in words
        assert "(s)" in words or "requests" in words or "since the request" in words
    page.close()


@pytest.mark.parametrize("name", ["typical", "compared"])
def test_figures_are_legible_on_a_phone(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page = opened(browser, pages[name], 390)
    heights = [
        text["box"][3] - text["box"][1]
        for svg in page.evaluate(VISIBLE_TEXTS)
        for text in svg["texts"]
        if text["box"][2] - text["box"][0] > text["box"][3] - text["box"][1]
    ]
    assert min(heights) >= 8
    page.close()


@pytest.mark.parametrize("name", ["typical", "compared"])
def test_dark_mode_is_dark_and_readable(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page = opened(browser, pages[name], 1280, "dark")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    figure = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    dark, light, drawn = (luminance(colour) for colour in (background, ink, figure))
    assert (light + 0.05) / (dark + 0.05) > 7
    assert (drawn + 0.05) / (dark + 0.05) > 7
    page.close()


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(r, g, b)`."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["typical", "compared"])
def test_nothing_is_loaded_and_no_script_runs(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    failures: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: failures.append(message.text))
    page.goto(pages[name].as_uri())
    assert len(asked) == 1
    assert failures == []
    page.close()


def test_a_stranger_finds_what_cold_starts_cost_at_the_top(browser: Browser, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["typical"], 1280)
    title = page.locator("h1").bounding_box()
    assert title is not None
    assert title["y"] < 200
    assert "cold start" in page.locator("h1").inner_text()
    figures = page.locator("figure [role=img]")
    assert all(len(figures.nth(index).get_attribute("aria-label") or "") > 40 for index in range(figures.count()))
    page.close()


def test_a_comparison_says_first_what_changed_by_how_much(browser: Browser, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["compared"], 1280)
    assert re.search(
        r"a (cold start|request that meets a cold start|warm request).* takes .* (less|more) \(median .*95% interval",
        page.locator("h1").inner_text(),
    )
    figures = page.locator("figure [role=img]")
    assert figures.count() >= 4
    assert all(len(figures.nth(index).get_attribute("aria-label") or "") > 40 for index in range(figures.count()))
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate("getComputedStyle(document.querySelector('h1')).color")) < 0.1
    page.close()
