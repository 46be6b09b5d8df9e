"""The figures of a comparison: every run on the same axes, and how sure each difference is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.analysis import anatomy
from preheat.analysis.figures import Drawing, style
from preheat.analysis.figures.line import bucket_s, over_time
from preheat.analysis.figures.side_by_side import ALL, COLD, WAITED, WARM, histograms
from preheat.analysis.figures.waterfall import COLOURS
from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Comparison = Mapping[str, Any]
_KINDS = (("cold_ms", "cold"), ("met_ms", "cold or waited"), ("warm_ms", "warm"), ("all_ms", "all"))


def draw_comparison(studies: Sequence[Study], comparison: Comparison, folder: Path) -> list[Drawing]:
    """Write `<name>.png` and `<name>.svg` of every figure that these runs can fill into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    for name, caption, alternative, draw in _figures(studies, comparison):
        wide, slim = draw(False), draw(True)
        style.save(wide, folder / name)
        svg = [style.inline_svg(figure, f"{name}-{kind}") for figure, kind in ((wide, "w"), (slim, "n"))]
        drawings.append(Drawing(name, caption, alternative, *svg))
    return drawings


def _figures(studies: Sequence[Study], comparison: Comparison) -> list[tuple[str, str, str, Callable[[bool], Figure]]]:
    """(name, caption, alternative text, how to draw it) of what can be shown."""
    runs = comparison["runs"]
    names = [run["letter"] for run in runs]
    found: list[tuple[str, str, str, Callable[[bool], Figure]]] = []
    if _kinds(comparison):
        caption = "What changed against A: medians and 95th percentiles, with 95% intervals. Left of 0 is faster."
        found.append(("differences", caption, _told(comparison), partial(differences, comparison)))
    caption = "Response time over each run: median, maximum, and every cold start as a point; the axes are the same."
    found.append(("over_time", caption, _medians(runs, "all_ms", "requests"), partial(lines_of, studies, names)))
    for key, name, groups, words in (
        ("cold_ms", "cold", [COLD, WAITED], "Cold starts, and warm requests that had to wait"),
        ("warm_ms", "warm", [WARM], "Warm requests that did not wait"),
    ):
        if any(run[key]["n"] for run in runs):
            draw = partial(histograms, studies, names, groups, words, f"no {name} requests")
            found.append((f"{name}_compared", f"{words}, on one axis.", _medians(runs, key, f"{name} requests"), draw))
    if not any(run[key]["n"] for run in runs for key in ("cold_ms", "warm_ms")):
        draw = partial(histograms, studies, names, [ALL], "All answered requests", "no requests")
        found.append(("all_compared", "Cold or warm is not known here.", _medians(runs, "all_ms", "requests"), draw))
    if any(run["cold_parts_ms"] for run in runs):
        caption = "Where the time of a cold start went, on average over the requests that waited for one."
        found.append(("parts_compared", caption, _parts_told(runs), partial(parts, runs)))
    return found


def _kinds(comparison: Comparison) -> list[tuple[str, str]]:
    """What can be compared; cold and waited together only where any waited."""
    waited = any(run["waited_ms"]["n"] for run in comparison["runs"])
    known = [each for each in _KINDS if any(found[each[0]] for found in comparison["differences"])]
    return [(key, name) for key, name in known if waited or key != "met_ms"]


def _medians(runs: Sequence[Mapping[str, Any]], key: str, what: str) -> str:
    told = [
        f"{run['letter']} ({run['name']}): {run[key]['n']:,} {what}, median {duration(run[key]['p50'])}"
        if run[key]["p50"] is not None
        else f"{run['letter']} ({run['name']}): no {what} one by one"
        for run in runs
    ]
    return f"{'; '.join(told)}."


def _told(comparison: Comparison) -> str:
    told = [
        f"{found['letter']}, {name} {at}: {found[key][at]['difference_ms']:+,.1f} ms "
        f"({found[key][at]['interval_ms'][0]:+,.1f} to {found[key][at]['interval_ms'][1]:+,.1f})"
        for found in comparison["differences"]
        for key, name in _kinds(comparison)
        if found[key]
        for at in ("p50", "p95")
    ]
    return f"Differences to A with 95% intervals. {'; '.join(told)}."


def _parts_told(runs: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for run in runs:
        parts_of_it = ", ".join(f"{name} {duration(ms)}" for name, ms in run["cold_parts_ms"].items())
        told.append(f"{run['letter']}: {parts_of_it or 'not known'}")
    return f"Mean parts of a cold start. {'; '.join(told)}."


@style.styled
def differences(comparison: Comparison, narrow: bool) -> Figure:
    """A panel for each kind of request, for cold and warm differ by other orders; a row for each run and quantile."""
    kinds = _kinds(comparison)
    rows = [
        [(found, at) for found in comparison["differences"] if found[key] for at in ("p50", "p95")] for key, _ in kinds
    ]
    height_in = 0.9 + sum(0.34 * len(each) + 0.75 for each in rows)
    figure, axes = style.new_figure(narrow, [len(each) + 1.2 for each in rows], height_in)
    style.title(figure, "What changed against A", narrow)
    for panel, (key, name), each in zip(axes, kinds, rows, strict=True):
        colours = {"cold_ms": style.VERMILLION, "met_ms": style.BLUE, "warm_ms": style.GREEN}
        colour = colours.get(key, style.GREY)
        panel.set_title(f"{name} requests", loc="left", fontsize=10, color=style.INK)
        _intervals(panel, [found[key][at] for found, at in each], colour)
        panel.set_yticks(range(len(each)), [f"{found['letter']} {at}" for found, at in each])
    axes[-1].set_xlabel("difference of the response time to A (ms)")
    return figure


def _intervals(panel: Axes, values: Sequence[Mapping[str, Any]], colour: str) -> None:
    """Points with their intervals; hollow where the interval holds 0. The words stand on a row's upper side."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ends = [0.0, *(end for value in values for end in value["interval_ms"])]
    low, high = min(ends), max(ends)
    margin = max((high - low) * 0.12, 0.5)
    panel.set_xlim(low - margin, high + margin)
    panel.axvline(0, color=style.INK, lw=1.0)
    for row, value in enumerate(values):
        panel.hlines(row, *value["interval_ms"], color=colour, lw=2.2)
        fill = colour if value["clear"] else style.PAPER
        panel.plot([value["difference_ms"]], [row], "o", ms=7, mfc=fill, mec=colour, mew=1.6)
        is_right = value["difference_ms"] > (low + high) / 2
        panel.annotate(
            f"{'+' if value['difference_ms'] >= 0 else '−'}{duration(abs(value['difference_ms']))}",
            (value["difference_ms"], row),
            xytext=(-6 if is_right else 6, 4),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="bottom",
            fontsize=8.5,
        )
    panel.set_ylim(len(values) - 0.4, -0.85)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+,.10g}" if value else "0"))


@style.styled
def lines_of(studies: Sequence[Study], names: Sequence[str], narrow: bool) -> Figure:
    """Median and maximum of each run over its time, and its cold starts, in panels that share both axes."""
    figure, axes = style.new_figure(narrow, [1.0] * len(studies), 2.0 * len(studies) + 1.2, share_x=True)
    style.title(figure, "Response time over each run", narrow)
    width_s = bucket_s(max((study.span_s for study in studies), default=1.0))
    answered = [study.answered[1] for study in studies]
    ends = [float(end) for times in answered if len(times) for end in (times.min(), times.max())]
    for panel, study, name in zip(axes, studies, names, strict=True):
        if not len(study.answered[1]):
            style.note(panel, f"{name}: no request was answered")
            continue
        series = over_time(study, width_s)
        panel.plot(series["at"], series["max"], color=style.GREY, lw=1.1, label="max")
        panel.plot(series["at"], series["p50"], color=style.BLUE, lw=2.0, label="p50 (median)")
        at, heights = study.series(Label.COLD)
        panel.scatter(at, heights, s=30, c=style.VERMILLION, marker="D", lw=0.6, edgecolors=style.PAPER, label="cold")
        low, high = min(ends) / 1.3, max(ends) * 1.6
        style.milliseconds(panel.yaxis, low, high)
        panel.set_ylim((low, high) if style.is_wide_range(low, high) else (0, high * 0.75))
        panel.set_ylabel(f"{name} (ms)")
    handles = next((panel.get_legend_handles_labels()[0] for panel in axes if panel.lines), [])
    if handles:
        axes[0].legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.4
        )
    axes[-1].set_xlabel("time since the first request was sent (s)")
    return figure


@style.styled
def parts(runs: Sequence[Mapping[str, Any]], narrow: bool) -> Figure:
    """One bar for each run: the mean parts of a cold start end to end."""
    figure, axes = style.new_figure(narrow, [1.0], 0.62 * len(runs) + (2.7 if narrow else 1.9))
    style.title(figure, "Where the time of a cold start went (mean)", narrow)
    panel = axes[0]
    longest_ms = max(sum(run["cold_parts_ms"].values()) for run in runs)
    named = [name for name in anatomy.ORDER if any(name in run["cold_parts_ms"] for run in runs)]
    left = [0.0] * len(runs)
    for name in named:
        lengths = [run["cold_parts_ms"].get(name, 0.0) for run in runs]
        panel.barh(range(len(runs)), lengths, left=left, height=0.6, color=COLOURS[name], label=name)
        left = [start + length for start, length in zip(left, lengths, strict=True)]
    for row, end_ms in enumerate(left):
        text = duration(end_ms) if end_ms else "not known"
        panel.text(end_ms + longest_ms * 0.012, row, text, va="center", ha="left", fontsize=8.5, color=style.INK)
    panel.set_yticks(range(len(runs)), [run["letter"] for run in runs])
    panel.set_ylim(len(runs) - 0.4, -0.6)
    panel.set_xlim(0, longest_ms * (1.25 if narrow else 1.12))
    style.milliseconds(panel.xaxis, 0, longest_ms)
    panel.set_xlabel("time since the request was sent (ms)")
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    columns = 1 if narrow else 3
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.3, columnspacing=1.4)
    return figure
