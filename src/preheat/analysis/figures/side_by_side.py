"""The same requests of several runs, one panel for each run on the same axes, and what changed in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.analysis import statistics
from preheat.analysis.figures import style
from preheat.analysis.figures.histograms import bin_edges
from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import count, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "cold_comparison"


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that are drawn in one colour; `ink` is the colour of their words."""

    name: str
    labels: tuple[Label, ...]
    colour: str
    ink: str


COLD = Group("cold", (Label.COLD,), style.VERMILLION, style.VERMILLION)
WAITED = Group("warm, but waited", (Label.WARM_WAITED,), style.SKY, style.BLUE)
WARM = Group("warm", (Label.WARM,), style.GREEN, style.INK)
ALL = Group("all", (), style.GREY, style.INK)
"""Every answered request, where labels are not known."""


def save_side_by_side(studies: Sequence[Study], folder: Path) -> str:
    """Write `cold_comparison.png` and `.svg` into `folder`; returns the sentence that is their title."""
    sentence = what_changed(studies[0], studies[-1])
    folder.mkdir(parents=True, exist_ok=True)
    style.save(side_by_side(studies, sentence), folder / NAME)
    return sentence


def how(study: Study) -> str:
    """How the function of a run was deployed, by its run.json."""
    info = study.folder.info
    if info.get("snap_start"):
        return "with SnapStart"
    provisioned = info.get("provisioned") or 0
    return f"with {count(provisioned, 'provisioned environment')}" if provisioned else "without a snapshot"


def met_a_cold_start(study: Study) -> Any:
    """Response times in ms of cold requests and of those that waited for an environment to start, as an array."""
    return study.times_ms(Label.COLD, Label.WARM_WAITED)


def what_changed(first: Study, last: Study) -> str:
    """The medians of two runs, their difference and its 95% interval (`statistics.difference`)."""
    import numpy as np

    before, after = met_a_cold_start(first), met_a_cold_start(last)
    number = f"{count(len(before), 'request')} met a cold start {how(first)}"
    found = statistics.difference(before, after)
    if found is None:
        return f"{number}, {len(after):,} {how(last)}: too few to say what changed."
    medians = [float(np.median(times)) for times in (after, before)]
    text = f"{number} (median {duration(medians[1])}), {len(after):,} {how(last)} (median {duration(medians[0])})"
    if not found["p50"]["clear"]:
        return f"{text}: no clear difference."
    low, high = found["p50"]["interval_ms"]
    near, far = sorted((abs(low), abs(high)))
    change = duration(abs(medians[0] - medians[1]))
    return f"{text}: {change} {'less' if high < 0 else 'more'} (95% interval {duration(near)} to {duration(far)})."


def side_by_side(studies: Sequence[Study], sentence: str) -> Figure:
    """One histogram for each run, all on the same axis: cold requests and, on top, those that waited."""
    return histograms(studies, [how(study) for study in studies], [COLD, WAITED], sentence, "no cold starts", False)


@style.styled
def histograms(
    studies: Sequence[Study], names: Sequence[str], groups: Sequence[Group], title: str, empty: str, narrow: bool
) -> Figure:
    """The groups' requests stacked, a panel for each run, all on one scale; `empty` is said where there are none."""
    import numpy as np

    figure, axes = style.new_figure(narrow, [1.0] * len(studies), 2.1 * len(studies) + 0.9, share_x=True)
    style.title(figure, title, narrow)
    times = [[_times(study, group) for group in groups] for study in studies]
    together = np.concatenate([values for each in times for values in each])
    if not len(together):
        for panel, name in zip(axes, names, strict=True):
            style.note(panel, f"{name}: {empty}")
        return figure
    edges = bin_edges(together, 30 if narrow else 60)
    highest = max(_panel(*each, groups, edges, narrow) for each in zip(axes, names, times, strict=True))
    for panel in axes:
        panel.set_ylim(0, max(highest, 1.0) * (1.2 + 0.17 * len(groups)))
    style.milliseconds(axes[-1].xaxis, edges[0], edges[-1], fine=not narrow)
    axes[-1].set_xlim(edges[0], edges[-1])
    wide = ", logarithmic" if style.is_wide_range(edges[0], edges[-1]) else ""
    clock = "response time at the client" if any(study.labelled for study in studies) else "initialisation and handler"
    axes[-1].set_xlabel(f"{clock} (ms{wide})")
    return figure


def _times(study: Study, group: Group) -> Any:
    return study.times_ms(*group.labels) if group.labels else study.answered[1]


def _panel(
    panel: Axes, name: str, values: Sequence[Any], groups: Sequence[Group], edges: Sequence[float], narrow: bool
) -> float:
    """One run: its bars, and above them a line of words for each group. Returns the height of the highest bar."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    colours = [group.colour for group in groups]
    heights, _, _ = panel.hist(values, edges, stacked=True, color=colours, edgecolor=style.PAPER, linewidth=0.6)
    panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for row, (times, group) in enumerate(zip(values, groups, strict=True)):
        middle = f", median {duration(float(np.median(times)))}" if len(times) else ""
        amount = f"{len(times):,}" if narrow else count(len(times), "request")
        text = f"{name}, {group.name}: {amount}{middle}"
        panel.text(0.008, 0.96 - 0.12 * row, text, transform=panel.transAxes, ha="left", va="top", color=group.ink)
    panel.grid(visible=False, axis="x")
    panel.set_ylabel("requests")
    return float(np.max(heights))
