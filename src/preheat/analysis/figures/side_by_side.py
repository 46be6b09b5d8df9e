"""The cold starts of several runs on one axis, one panel for each, and what changed in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.analysis.figures import style
from preheat.analysis.figures.histograms import bin_edges
from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import count, duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "cold_comparison"
_COLOURS = (style.VERMILLION, style.BLUE, style.GREEN, style.PURPLE)
_BINS = 60


def save_side_by_side(studies: Sequence[Study], comparison: Mapping[str, Any], folder: Path) -> str:
    """Write `cold_comparison.png` and `.svg` into `folder`; returns the sentence that is their title.

    `comparison` is `compare`'s of the same runs.
    """
    sentence = what_changed(studies, comparison)
    folder.mkdir(parents=True, exist_ok=True)
    style.save(cold_side_by_side(studies, sentence), folder / NAME)
    return sentence


def how(study: Study) -> str:
    """How the function of a run was deployed, by its run.json."""
    info = study.folder.info
    if info.get("snap_start"):
        return "with SnapStart"
    provisioned = info.get("provisioned") or 0
    return f"with {count(provisioned, 'provisioned environment')}" if provisioned else "without a snapshot"


def what_changed(studies: Sequence[Study], comparison: Mapping[str, Any]) -> str:
    """The last run against the first: the medians of their cold starts, their difference and its 95% interval."""
    first, last = studies[0], studies[-1]
    before, after = (comparison["runs"][index]["cold_ms"] for index in (0, -1))
    found = comparison["differences"][-1]["cold_ms"]
    if found is None:
        counts = f"{count(before['n'], 'cold start')} {how(first)} and {count(after['n'], 'cold start')} {how(last)}"
        return f"{counts} are too few to say what changed."
    low, high = (abs(end) for end in found["p50"]["interval_ms"])
    difference_ms = found["p50"]["difference_ms"]
    medians = f"{duration(after['p50'])} {how(last)}, {duration(before['p50'])} {how(first)}"
    if not found["p50"]["clear"]:
        return f"The median cold start took {medians}: no clear difference."
    more = "less" if difference_ms < 0 else "more"
    change = f"{duration(abs(difference_ms))} {more}"
    interval = f"{duration(min(low, high))} to {duration(max(low, high))}"
    return f"The median cold start took {medians}: {change} (95% interval {interval} {more})."


@style.styled
def cold_side_by_side(studies: Sequence[Study], sentence: str) -> Figure:
    """One histogram for each run, all on the same logarithmic axis where their range asks for it."""
    import numpy as np

    times = [study.times_ms(Label.COLD) for study in studies]
    figure, axes = style.new_figure(False, [1.0] * len(studies), 2.1 * len(studies) + 0.8, share_x=True)
    style.title(figure, sentence, False)
    together = np.concatenate(times)
    if not len(together):
        for panel in axes:
            style.note(panel, "no cold starts")
        return figure
    edges = bin_edges(together, _BINS)
    for index, (panel, study, values) in enumerate(zip(axes, studies, times, strict=True)):
        heights, _, _ = panel.hist(values, bins=edges, color=_COLOURS[index % len(_COLOURS)], edgecolor=style.PAPER)
        panel.set_ylim(0, max(float(max(heights)), 1.0) * 1.35)
        label = f"{how(study)}: {count(len(values), 'cold start')}"
        if len(values):
            label += f", median {duration(float(np.median(values)))}, longest {duration(float(np.max(values)))}"
        panel.text(0.008, 0.96, label, transform=panel.transAxes, ha="left", va="top", fontweight="bold")
        panel.grid(visible=False, axis="x")
        panel.set_ylabel("requests")
    style.milliseconds(axes[-1].xaxis, edges[0], edges[-1], fine=True)
    axes[-1].set_xlim(edges[0], edges[-1])
    wide = ", logarithmic" if style.is_wide_range(edges[0], edges[-1]) else ""
    axes[-1].set_xlabel(f"response time of cold requests at the client (ms{wide})")
    return figure
