"""The requests of several runs that met a cold start, on one axis, and what changed in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
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
TOO_FEW = 5
_BINS = 60
_ROUNDS, _SEED = 2000, 20261122


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
    """The medians of two runs, their difference and its 95% percentile bootstrap interval.

    Requests are resampled one by one; those that waited for the same start are not independent of each other, so
    the interval is rather too narrow.
    """
    import numpy as np

    before, after = met_a_cold_start(first), met_a_cold_start(last)
    number = f"{count(len(before), 'request')} met a cold start {how(first)}"
    if min(len(before), len(after)) < TOO_FEW:
        return f"{number}, {len(after):,} {how(last)}: too few to say what changed."
    generator = np.random.default_rng(_SEED)
    draws = [np.median(generator.choice(times, (_ROUNDS, len(times))), axis=1) for times in (after, before)]
    low, high = (float(end) for end in np.percentile(draws[0] - draws[1], [2.5, 97.5]))
    medians = [float(np.median(times)) for times in (after, before)]
    text = f"{number} (median {duration(medians[1])}), {len(after):,} {how(last)} (median {duration(medians[0])})"
    if low <= 0 <= high:
        return f"{text}: no clear difference."
    less = "less" if high < 0 else "more"
    near, far = sorted((abs(low), abs(high)))
    change = duration(abs(medians[0] - medians[1]))
    return f"{text}: {change} {less} (95% interval {duration(near)} to {duration(far)})."


@style.styled
def side_by_side(studies: Sequence[Study], sentence: str) -> Figure:
    """One histogram for each run, all on the same axis: cold requests and, on top, those that waited."""
    import numpy as np

    figure, axes = style.new_figure(False, [1.0] * len(studies), 2.1 * len(studies) + 0.9, share_x=True)
    style.title(figure, sentence, False)
    together = np.concatenate([met_a_cold_start(study) for study in studies])
    if not len(together):
        for panel, study in zip(axes, studies, strict=True):
            style.note(panel, f"{how(study)}: no cold starts")
        return figure
    edges = bin_edges(together, _BINS)
    for panel, study in zip(axes, studies, strict=True):
        cold, waited = study.times_ms(Label.COLD), study.times_ms(Label.WARM_WAITED)
        colours = [style.VERMILLION, style.SKY]
        heights, _, _ = panel.hist([cold, waited], edges, stacked=True, color=colours, edgecolor=style.PAPER)
        panel.set_ylim(0, max(float(np.max(heights)), 1.0) * 1.4)
        for line, (times, name, colour) in enumerate(
            ((cold, "cold", style.VERMILLION), (waited, "warm, but waited", style.BLUE))
        ):
            middle = f", median {duration(float(np.median(times)))}" if len(times) else ""
            text = f"{how(study)}, {name}: {count(len(times), 'request')}{middle}"
            panel.text(0.008, 0.96 - 0.12 * line, text, transform=panel.transAxes, ha="left", va="top", color=colour)
        panel.grid(visible=False, axis="x")
        panel.set_ylabel("requests")
    style.milliseconds(axes[-1].xaxis, edges[0], edges[-1], fine=True)
    axes[-1].set_xlim(edges[0], edges[-1])
    wide = ", logarithmic" if style.is_wide_range(edges[0], edges[-1]) else ""
    axes[-1].set_xlabel(f"response time at the client (ms{wide})")
    return figure
