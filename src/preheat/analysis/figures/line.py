"""Response time over the run: p50, p95 and maximum, with every cold start as a point of its own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from preheat.analysis.figures import style
from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import count, duration, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTHS_S = (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800)
_MOST_BUCKETS = 150
_MOST_POINTS = 20_000
"""More points than this make a page heavy and tell nothing apart; the histograms hold them all."""


def bucket_s(span_s: float) -> int:
    """Seconds in one point of the graph: 1, until there would be more points than can be told apart."""
    return next((width for width in _WIDTHS_S if span_s / width <= _MOST_BUCKETS), _WIDTHS_S[-1])


def over_time(study: Study, width_s: int) -> dict[str, list[float]]:
    """p50, p95 and max of the answered requests by the time they were sent; `at` is the middle of each bucket."""
    import numpy as np

    at, times = study.answered
    number = np.maximum((at // width_s).astype(np.int64), 0)
    order = np.argsort(number, kind="stable")
    edges = np.searchsorted(number[order], np.arange(int(number.max(initial=-1)) + 2))
    series: dict[str, list[float]] = {"at": [], "p50": [], "p95": [], "max": []}
    for bucket, (first, last) in enumerate(pairwise(edges)):
        sample = times[order[first:last]]
        quantiles = np.percentile(sample, [50, 95, 100]) if len(sample) else [np.nan] * 3
        series["at"].append((bucket + 0.5) * width_s)
        for name, value in zip(("p50", "p95", "max"), quantiles, strict=True):
            series[name].append(float(value))
    return series


@style.styled
def line(study: Study, summary: Mapping[str, Any], narrow: bool) -> tuple[Figure, str]:
    """The line graph; where Locust's history is there, the number of users below it."""
    is_shared = study.labelled and study.folder.clock == "epoch"
    users = [(at - study.start_s, number) for at, number in study.folder.users] if is_shared else []
    users = [(at, number) for at, number in users if -1 <= at <= study.span_s]
    rows = [4.2, 1.0] if users else [1.0]
    figure, axes = style.new_figure(narrow, rows, 5.2 if narrow else 4.6, share_x=True)
    style.title(figure, headline(summary), narrow)
    if not len(study.answered[0]):
        why = "no request was answered" if not summary["all_ms"]["n"] else "only Locust's totals are known, no request"
        style.note(axes[0], why)
        return figure, f"An empty graph: {why}."
    width_s = bucket_s(study.span_s)
    series = over_time(study, width_s)
    _draw_series(axes[0], series)
    _draw_points(axes[0], study)
    low, high = summary["all_ms"]["min"], summary["all_ms"]["max"]
    style.milliseconds(axes[0].yaxis, low / 1.3, high * 1.6)
    axes[0].set_ylim((low / 1.3, high * 1.6) if style.is_wide_range(low / 1.3, high * 1.6) else (0, high * 1.15))
    axes[0].set_ylabel(f"{'response time' if summary['times'] == 'client' else 'init + handler'} (ms)")
    last_s = max(float(study.answered[0].max()), width_s)
    axes[0].set_xlim(left=-0.01 * last_s, right=last_s * 1.01)
    columns = 2 if narrow else 5
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.4)
    if users:
        axes[1].step([at for at, _ in users], [number for _, number in users], where="post", color=style.GREY, lw=1.4)
        axes[1].fill_between(
            [at for at, _ in users], [number for _, number in users], step="post", color=style.GREY, alpha=0.2, lw=0
        )
        axes[1].set_ylim(0, max(number for _, number in users) * 1.15 + 0.1)
        axes[1].set_ylabel("users")
    axes[-1].set_xlabel("time since the first request was sent (s)")
    return figure, _alternative(summary, width_s)


def _draw_series(axes: Axes, series: dict[str, list[float]]) -> None:
    styles = {
        "max": ("max", style.GREY, 1.1),
        "p95": ("p95", style.ORANGE, 1.6),
        "p50": ("p50 (median)", style.BLUE, 2.2),
    }
    lonely = {"marker": "o", "markersize": 2.5} if len(series["at"]) <= 40 else {}
    for name, (label, colour, width) in styles.items():
        axes.plot(series["at"], series[name], color=colour, lw=width, label=label, **lonely)  # type: ignore[arg-type]


def _draw_points(axes: Axes, study: Study) -> None:
    kinds = (
        (Label.WARM_WAITED, "warm, waited", style.SKY, "o", 16, 3),
        (Label.COLD, "cold start", style.VERMILLION, "D", 46, 4),
    )
    for label, text, colour, marker, size, order in kinds:
        at, heights = study.series(label)
        if 0 < len(at) <= _MOST_POINTS:
            axes.scatter(
                at, heights, s=size, c=colour, marker=marker, label=text, zorder=order, edgecolors=style.PAPER, lw=0.6
            )


def _alternative(summary: Mapping[str, Any], width_s: int) -> str:
    times = summary["all_ms"]
    step = "second" if width_s == 1 else f"{width_s} seconds"
    text = (
        f"Line graph over {summary['span_s']:.0f} seconds: median, 95th percentile and maximum response time for each "
        f"{step}. "
        f"Over the whole run the median is {duration(times['p50'])} and the maximum {duration(times['max'])}."
    )
    if summary["cold"]:
        text += f" {count(summary['cold'], 'cold start is', 'cold starts are')} marked as points"
        text += f", the last answered at {summary['last_cold_s']:.1f} s."
    return text
