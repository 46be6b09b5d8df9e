"""Two histograms: what a cold start costs, and what a warm request takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from preheat.analysis.figures import style
from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import count, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MANY = 60
"""Fewer values than this are lost in narrow bins."""


def bin_edges(values: Any, bins: int) -> list[float]:
    """Equal bins over the range of the values, equal in ratio where the range asks for a logarithmic axis."""
    import numpy as np

    low, high = float(np.min(values)), float(np.max(values))
    if style.is_wide_range(low, high):
        return [float(edge) for edge in np.geomspace(low * 0.96, high * 1.04, bins + 1)]
    margin = max((high - low) * 0.06, high * 0.02, 1e-3)
    return [float(edge) for edge in np.linspace(max(low - margin, 0.0), high + margin, bins + 1)]


@style.styled
def cold_histogram(study: Study, summary: Mapping[str, Any], narrow: bool) -> tuple[Figure, str]:
    """Cold requests above; below, on the same axis, the warm requests that waited."""
    import numpy as np

    cold, waited = study.times_ms(Label.COLD), study.times_ms(Label.WARM_WAITED)
    panels = [1.25, 1.0] if len(waited) else [1.0]
    figure, axes = style.new_figure(narrow, panels, (5.0 if narrow else 4.6) if len(waited) else 3.6, share_x=True)
    style.title(figure, _cold_title(summary), narrow)
    if not len(cold) and not len(waited):
        style.note(axes[0], _why_empty(summary))
        return figure, f"An empty histogram: {_why_empty(summary)}."
    few = len(cold) + len(waited) < MANY
    edges = bin_edges(np.concatenate([cold, waited]), 16 if few else 24 if narrow else 40)
    _bars(axes[0], cold, edges, style.VERMILLION, f"cold: {count(len(cold), 'request')}")
    for value in cold if len(cold) <= MANY * 10 else ():
        axes[0].axvline(value, 0, 0.09, color=style.INK, lw=1.3, zorder=5)
    if not len(cold):
        style.note(axes[0], "no cold starts")
    if len(waited):
        _bars(axes[1], waited, edges, style.SKY, f"warm, but waited: {count(len(waited), 'request')}")
    for panel in axes:
        panel.set_ylabel("requests")
    style.milliseconds(axes[-1].xaxis, edges[0], edges[-1], fine=not narrow)
    axes[-1].set_xlim(edges[0], edges[-1])
    axes[-1].set_xlabel(f"{clock_of(summary)} (ms{_log_word(edges)})")
    return figure, _cold_alternative(summary)


def _bars(axes: Axes, values: Any, edges: Sequence[float], colour: str, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    heights, _, _ = axes.hist(values, bins=edges, color=colour, edgecolor=style.PAPER, linewidth=0.6)
    axes.set_ylim(0, max(float(max(heights)), 1.0) * 1.3)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(visible=False, axis="x")
    axes.text(0.008, 0.97, label, transform=axes.transAxes, ha="left", va="top", color=style.INK, fontweight="bold")


def clock_of(summary: Mapping[str, Any]) -> str:
    """Whose time it is that the figures show."""
    return "response time at the client" if summary["times"] == "client" else "initialisation and handler"


def _log_word(edges: Sequence[float]) -> str:
    return ", logarithmic" if style.is_wide_range(edges[0], edges[-1]) else ""


def _why_empty(summary: Mapping[str, Any]) -> str:
    if summary["label_method"] == "none":
        return "cold or warm is not known"
    return "no cold starts in this run" if summary["requests"] else "no requests in this run"


def _cold_title(summary: Mapping[str, Any]) -> str:
    cold, waited = summary["cold_ms"], summary["waited_ms"]
    if not cold["n"] and not waited["n"]:
        return "Cold starts: none to show"
    if cold["n"] == 1:
        text = f"1 cold start took {duration(cold['max'])}"
    elif cold["n"]:
        text = f"{cold['n']:,} cold starts took {duration(cold['min'])} to {duration(cold['max'])}"
    else:
        text = "No cold starts"
    if waited["n"]:
        text += f"; {count(waited['n'], 'warm request')} waited, up to {duration(waited['max'])}"
    return text


def _cold_alternative(summary: Mapping[str, Any]) -> str:
    texts = []
    for key, name in (("cold_ms", "cold request"), ("waited_ms", "warm request that waited")):
        times = summary[key]
        if times["n"]:
            plural = {"cold request": "cold requests"}.get(name, "warm requests that waited")
            texts.append(
                f"{count(times['n'], name, plural)}, from {duration(times['min'])} to {duration(times['max'])}, "
                f"median {duration(times['p50'])}"
            )
    return f"Histogram of response times: {'; '.join(texts)}."


@style.styled
def warm_histogram(study: Study, summary: Mapping[str, Any], narrow: bool) -> tuple[Figure, str]:
    """Warm requests that did not wait, with the 5th, 50th and 95th percentile and the mean marked."""
    import numpy as np

    warm = study.times_ms(Label.WARM)
    figure, axes = style.new_figure(narrow, [1.0], 4.4 if narrow else 4.2)
    if not len(warm):
        style.title(figure, "Warm requests: none to show", narrow)
        why = "no warm requests that did not wait" if summary["label_method"] != "none" else _why_empty(summary)
        style.note(axes[0], why)
        return figure, f"An empty histogram: {why}."
    p5, p50, p95 = (float(value) for value in np.percentile(warm, [5, 50, 95]))
    mean = float(np.mean(warm))
    text = f"{count(len(warm), 'warm request')}: half within {duration(p50)}, 95% within {duration(p95)}"
    style.title(figure, text, narrow)
    edges = bin_edges(warm, 36 if narrow else 60)
    panel = axes[0]
    heights, _, _ = panel.hist(warm, bins=edges, color=style.GREEN, edgecolor=style.PAPER, linewidth=0.4)
    marks = [("5th percentile", p5), ("50th percentile", p50), ("95th percentile", p95), ("mean", mean)]
    _mark(panel, marks, float(max(heights)), edges)
    style.milliseconds(panel.xaxis, edges[0], edges[-1], fine=not narrow)
    panel.set_xlim(edges[0], edges[-1])
    panel.grid(visible=False, axis="x")
    panel.set_xlabel(f"{clock_of(summary)} (ms{_log_word(edges)})")
    panel.set_ylabel("requests")
    told = ", ".join(f"{name} {duration(value)}" for name, value in marks)
    return figure, f"Histogram of {count(len(warm), 'warm response time')}: {told}."


def _mark(axes: Axes, marks: Sequence[tuple[str, float]], highest: float, edges: Sequence[float]) -> None:
    """A line for each mark, its label on a row of its own above the bars, so that none can overlap."""
    axes.set_ylim(0, highest * 1.55)
    low, high = edges[0], edges[-1]
    for row, (name, value) in enumerate(sorted(marks, key=lambda mark: mark[1])):
        top = highest * (1.48 - 0.115 * row)
        colour = style.VERMILLION if name == "mean" else style.INK
        axes.vlines(value, 0, top, color=colour, lw=1.2, linestyles="--" if name == "mean" else "-", zorder=4)
        is_right = _position(value, low, high) > 0.6
        axes.annotate(
            f"{name} {duration(value)}",
            (value, top),
            xytext=(-4 if is_right else 4, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top",
            color=colour,
            fontsize=9,
        )


def _position(value: float, low: float, high: float) -> float:
    """Where on the axis a value stands, 0 to 1."""
    import numpy as np

    if style.is_wide_range(low, high):
        return float(np.log(value / low) / np.log(high / low))
    return (value - low) / (high - low)
