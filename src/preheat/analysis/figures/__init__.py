"""The figures of a report, each drawn for a wide page and for a narrow one, as PNG, SVG and inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.analysis.figures.histograms import cold_histogram, warm_histogram
from preheat.analysis.figures.line import line
from preheat.analysis.figures.waterfall import median_and_worst, waterfall
from preheat.analysis.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drawing:
    """`wide` and `narrow` are SVG elements for a page, coloured by its CSS variables."""

    name: str
    caption: str
    alternative: str
    """What the figure shows, for those who cannot see it."""
    wide: str
    narrow: str


Draw = Callable[[Study, Summary, bool], "tuple[Figure, str]"]
"""(study, summary, narrow) -> figure and alternative text."""

FIGURES: dict[str, tuple[Draw, str]] = {
    "line": (line, "Response time over the run, by the second in which requests were sent."),
    "cold_histogram": (cold_histogram, "Response times of the cold requests, and of warm ones that had to wait."),
    "warm_histogram": (warm_histogram, "Response times of the warm requests that did not wait."),
    "waterfall": (waterfall, "Where the time of a cold start went: the median one and the worst."),
}


def draw_all(study: Study, summary: Summary, folder: Path) -> list[Drawing]:
    """Write `<name>.png` and `<name>.svg` of every figure that this run can fill into `folder`."""
    from preheat.analysis.figures.style import inline_svg, save

    folder.mkdir(exist_ok=True)
    drawings = []
    for name, (draw, caption) in FIGURES.items():
        if name == "waterfall" and not median_and_worst(study):
            continue
        figure, alternative = draw(study, summary, False)
        save(figure, folder / name)
        slim, _ = draw(study, summary, True)
        wide_svg, narrow_svg = inline_svg(figure, f"{name}-w"), inline_svg(slim, f"{name}-n")
        drawings.append(Drawing(name, caption, alternative, wide_svg, narrow_svg))
    return drawings
