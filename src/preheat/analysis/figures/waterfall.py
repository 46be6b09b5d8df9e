"""Where the time of a cold start went: the parts of the median and of the worst one, end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from preheat.analysis import anatomy
from preheat.analysis.figures import style
from preheat.analysis.labels import LabelledRequest
from preheat.analysis.study import Study
from preheat.analysis.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    anatomy.SETUP: style.PURPLE,
    anatomy.QUEUE: style.GREY,
    anatomy.SPAWN: style.SKY,
    anatomy.RUNTIME: style.ORANGE,
    anatomy.MODULE: style.VERMILLION,
    anatomy.INIT: style.BLUE,
    anatomy.RESTORE: style.BLUE,
    anatomy.UNSEEN: style.GREY,
    anatomy.HANDLER: style.GREEN,
    anatomy.REST: style.FAINT,
}


def median_and_worst(study: Study) -> list[tuple[str, LabelledRequest, list[anatomy.Part]]]:
    """The lower median and the slowest of the cold requests that waited for the start (of all cold ones where none
    did); one entry where there is only one."""
    served = [found for found in anatomy.cold_anatomies(study) if found[0].served]
    felt = [found for found in served if found[0].waited] or served
    ordered = sorted(felt, key=lambda found: found[0].request.response_ms)
    if not ordered:
        return []
    median, worst = ordered[(len(ordered) - 1) // 2], ordered[-1]
    if len(ordered) == 1:
        return [("the only cold start", *worst)]
    return [("median cold start", *median), ("worst cold start", *worst)]


@style.styled
def waterfall(study: Study, summary: Mapping[str, Any], narrow: bool) -> tuple[Figure, str]:
    """One panel for each of `median_and_worst`, sharing the time axis; a row for each part."""
    chosen = median_and_worst(study)
    named = [[part.name for part in _merged(parts)] for _, _, parts in chosen]
    height_in = 1.5 + 0.27 * sum(map(len, named)) + 0.35 * len(chosen)
    figure, axes = style.new_figure(narrow, [float(len(names)) for names in named], height_in, share_x=True)
    longest_ms = max(item.request.response_ms for _, item, _ in chosen)
    texts = []
    for panel, (name, item, parts) in zip(axes, chosen, strict=True):
        _draw(panel, parts, longest_ms, narrow)
        total = duration(item.request.response_ms)
        panel.set_title(f"{name}: {total}", loc="left", fontsize=10, color=style.INK)
        told = ", ".join(f"{part} {duration(ms)}" for part, ms in anatomy.by_name(parts).items())
        texts.append(f"{name}, {total}: {told}")
    _, _, worst = chosen[-1]
    part, part_ms = max(anatomy.by_name(worst).items(), key=lambda found: found[1])
    subject = "the cold start" if len(chosen) == 1 else "the worst cold start"
    style.title(figure, f"{part.capitalize()} took {duration(part_ms)} of {subject}", narrow)
    axes[-1].set_xlabel("time since the request was sent (ms)")
    axes[-1].set_xlim(0, longest_ms * (1.28 if narrow else 1.12))
    style.milliseconds(axes[-1].xaxis, 0, longest_ms)
    return figure, f"Waterfall. {'. '.join(texts)}."


def _merged(parts: list[anatomy.Part]) -> list[anatomy.Part]:
    """One row for each name: waiting can come in two pieces."""
    first = {part.name: part for part in reversed(parts)}
    return sorted(first.values(), key=lambda part: part.start_ms)


def _draw(axes: Axes, parts: list[anatomy.Part], longest_ms: float, narrow: bool) -> None:
    rows = {part.name: row for row, part in enumerate(_merged(parts))}
    for part in parts:
        axes.barh(rows[part.name], part.length_ms, left=part.start_ms, height=0.72, color=COLOURS[part.name])
        hair = longest_ms * 0.004
        if part.length_ms < hair:  # too short to be seen: a hairline says that it is there
            axes.barh(rows[part.name], hair, left=part.start_ms, height=0.72, color=COLOURS[part.name])
    for name, row in rows.items():
        pieces = [part for part in parts if part.name == name]
        end_ms = max(part.start_ms + part.length_ms for part in pieces)
        total = duration(sum(part.length_ms for part in pieces))
        axes.text(end_ms + longest_ms * 0.012, row, total, va="center", ha="left", fontsize=8.5, color=style.INK)
    axes.set_yticks(list(rows.values()), [_short(name) if narrow else name for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _short(name: str) -> str:
    return {
        anatomy.SETUP: "connect",
        anatomy.SPAWN: "process",
        anatomy.RUNTIME: "runtime",
        anatomy.MODULE: "module",
        anatomy.INIT: "init",
        anatomy.RESTORE: "restore",
        anatomy.UNSEEN: "before it",
        anatomy.REST: "the rest",
    }.get(name, name)
