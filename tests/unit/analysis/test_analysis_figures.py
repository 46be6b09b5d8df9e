"""Figures are drawn for every shape of run, with units, without overlaps, the same for the same run."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from analysis_cases import Case
from matplotlib.axis import Axis
from matplotlib.text import Text

from preheat.analysis.figures import FIGURES, draw_all, style
from preheat.analysis.figures.histograms import bin_edges
from preheat.analysis.figures.line import bucket_s, over_time

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_figure_of_every_run_is_written(case: Case) -> None:
    drawings = case.drawings
    names = [drawing.name for drawing in drawings]
    assert names[:3] == ["line", "cold_histogram", "warm_histogram"]
    assert ("waterfall" in names) == (case.summary["cold_ms"]["n"] > 0)
    for drawing in drawings:
        stem = case.folder / "figures" / drawing.name
        assert stem.with_suffix(".png").read_bytes().startswith(PNG)
        ElementTree.fromstring(stem.with_suffix(".svg").read_text(encoding="utf-8"))
        assert drawing.alternative.endswith(".")


def test_svg_keeps_text_as_text_and_units_on_the_axes(cases: dict[str, Case]) -> None:
    figures = cases["typical"].folder / "figures"
    assert cases["typical"].drawings
    for name, words in {
        "line": [
            "3 cold starts, up to 2.04 s",
            "response time (ms)",
            "time since the first request was sent (s)",
            "1,000",
        ],
        "cold_histogram": ["response time at the client (ms, logarithmic)", "cold: 3 requests", "waited: 33 requests"],
        "warm_histogram": ["response time at the client (ms)", "5th percentile", "50th percentile", "mean 4.7 ms"],
        "waterfall": ["time since the request was sent (ms)", "handler module import", "worst cold start: 2.04 s"],
    }.items():
        svg = (figures / f"{name}.svg").read_text(encoding="utf-8")
        text = " ".join(ElementTree.fromstring(svg).itertext())
        assert all(word in text for word in words), name


def test_every_cold_start_is_a_point_of_its_own(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    figure, _ = FIGURES["line"][0](case.study, case.summary, False)
    points = {collection.get_label(): len(collection.get_offsets()) for collection in figure.axes[0].collections}
    assert points == {"cold start": 3, "warm, waited": 33}


def test_histograms_hold_every_request(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    cold, _ = FIGURES["cold_histogram"][0](case.study, case.summary, False)
    warm, _ = FIGURES["warm_histogram"][0](case.study, case.summary, False)
    heights = [sum(patch.get_height() for patch in axes.patches) for axes in (*cold.axes, *warm.axes)]
    assert heights == [3, 33, 1451]


def drawn_ticks(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_visible()]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", ["warm_histogram", "waterfall", "cold_histogram", "line"])
def test_no_text_overlaps_another(case: Case, name: str, narrow: bool) -> None:
    if name == "waterfall" and not case.summary["cold_ms"]["n"]:
        assert not case.anatomies
        return
    figure, _ = FIGURES[name][0](case.study, case.summary, narrow)
    figure.canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts] + list(figure.texts)
    texts += [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label)]
    texts += [label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in drawn_ticks(axis)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    width = figure.canvas.get_width_height()[0]
    assert len(boxes) >= 2
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.x1 <= width + 1, f"{text!r} runs out of the figure"
    for (text, box), (other, other_box) in itertools.combinations(boxes, 2):
        assert not box.shrunk(0.98, 0.9).overlaps(other_box), f"{text!r} over {other!r}"


def test_the_same_run_gives_the_same_bytes(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["one"]
    assert draw_all(case.study, case.summary, tmp_path) == case.drawings
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (case.folder / "figures" / path.name).read_bytes()


def test_inline_svg_can_stand_beside_another(cases: dict[str, Case]) -> None:
    drawings = cases["typical"].drawings
    ids = [name for d in drawings for svg in (d.wide, d.narrow) for name in re.findall(r'\bid="([^"]*)"', svg)]
    references = {
        name for d in drawings for svg in (d.wide, d.narrow) for name in re.findall(r'(?:href="#|url\(#)([^")]*)', svg)
    }
    assert len(ids) == len(set(ids))
    assert references
    assert references <= set(ids)


def test_inline_svg_takes_its_ink_from_the_page(cases: dict[str, Case]) -> None:
    for drawing in cases["typical"].drawings:
        assert "var(--ink)" in drawing.wide
        assert style.INK not in drawing.wide
        assert drawing.wide.startswith("<svg viewBox=")


@pytest.mark.parametrize(("span_s", "width_s"), [(0, 1), (60, 1), (150, 1), (151, 2), (600, 5), (86_400, 600)])
def test_points_of_the_line_graph_can_be_told_apart(span_s: float, width_s: int) -> None:
    assert bucket_s(span_s) == width_s


def test_series_have_the_quantiles_of_each_bucket(cases: dict[str, Case]) -> None:
    series = over_time(cases["typical"].study, 1)
    assert len(series["at"]) == 60
    assert all(p50 <= p95 <= high for p50, p95, high in zip(series["p50"], series["p95"], series["max"], strict=True))
    assert max(series["max"]) == cases["typical"].summary["all_ms"]["max"]


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1.0, 1000.0], [3.0, 3.1, 8.0]])
def test_bins_hold_all_values(values: list[float]) -> None:
    edges = bin_edges(values, 20)
    assert len(edges) == 21
    assert all(low < high for low, high in itertools.pairwise(edges))
    assert edges[0] <= min(values) <= max(values) <= edges[-1]
