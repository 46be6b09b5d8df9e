"""The tree as boxes: time runs to the right, what runs inside something lies below it. On a page and as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.profile.study import Profile
from preheat.profile.tree import Node
from preheat.profile.words import agreement, label, milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SHARE = 0.001
"""Narrower boxes are not drawn: a pixel on a wide page."""

# Okabe and Ito's palette, safe for the colour-blind (jfly.uni-koeln.de/color).
COLOURS = {
    "phase": "#8a8f98",
    "statement": "#0072b2",
    "used": "#009e73",
    "unused": "#d55e00",
}
MEANINGS = {
    "phase": "Python, runtime, collector",
    "statement": "statement of the handler's module",
    "used": "import that something used",
    "unused": "import that nothing used yet",
}
_WIDE_IN, _ROW_IN, _HEAD_IN = 13.0, 0.2, 1.1
_PNG_SHARE = 0.002
_CHARACTER_IN = 0.059
"""Mean width of a character of the boxes' text (7 points)."""


@dataclass(frozen=True, slots=True)
class Box:
    """`left` and `width` are shares of init, `depth` counts from 0 at the top."""

    node: Node
    depth: int
    left: float
    width: float
    colour: str
    """A key of COLOURS."""


def boxes(root: Node, least_share: float = LEAST_SHARE) -> list[Box]:
    """Every node's box, in the order of a walk; children lie in the order they ran, own time to their right."""
    total = root.ms or 1.0
    return list(_boxes(root, 0, 0.0, total, least_share))


def _boxes(node: Node, depth: int, left: float, total: float, least: float) -> Iterator[Box]:
    width = node.ms / total
    if width < least:
        return
    yield Box(node, depth, left, width, colour(node))
    for child in node.children:
        yield from _boxes(child, depth + 1, left, total, least)
        left += child.ms / total


def colour(node: Node) -> str:
    if node.kind != "import":
        return node.kind
    return "used" if any(inner.used for inner in node.walk()) else "unused"


def draw(profile: Profile, path: Path) -> None:
    """Write the flame graph as a PNG. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = boxes(profile.root, _PNG_SHARE)
    rows = max(box.depth for box in found) + 1
    height_in = rows * _ROW_IN + _HEAD_IN
    figure = Figure(figsize=(_WIDE_IN, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    below_in = 0.45
    axes = figure.add_axes((0.015, below_in / height_in, 0.97, rows * _ROW_IN / height_in))
    for box in found:
        _draw_box(axes, box, profile)
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, 0)
    axes.set_yticks([])
    _scale(axes, profile.root.ms)
    figure.text(0.015, 1 - 0.28 / height_in, agreement(profile), fontsize=10.5, fontweight="bold", color="#1b1f24")
    _legend(figure, height_in)
    figure.savefig(path, dpi=120, metadata={"Software": "preheat"})


def _draw_box(axes: Axes, box: Box, profile: Profile) -> None:
    inset = 0.03 / _WIDE_IN
    (bar,) = axes.barh(
        box.depth + 0.5, box.width, left=box.left, height=0.94, color=COLOURS[box.colour], edgecolor="white", lw=0.4
    )
    text = fitting(label(box.node, profile), box.node, int((box.width - 2 * inset) * _WIDE_IN / _CHARACTER_IN))
    shown = axes.text(box.left + inset, box.depth + 0.53, text, va="center", fontsize=7, color="white")
    shown.set_clip_path(bar)


def fitting(text: str, node: Node, room: int) -> str:
    """As much of a box's text as there is room for, in characters: with its time, whole, a module's last part, cut."""
    last = text.rpartition(".")[2] if node.kind == "import" else text
    for candidate in (f"{text}  {milliseconds(node.ms)}", text, f".{last}", last):
        if len(candidate) <= room:
            return candidate
    return last[: room - 1] + "…" if room > 3 else ""


def _scale(axes: Axes, total_ms: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ticks = [tick for tick in MaxNLocator(10, steps=[1, 2, 5, 10]).tick_values(0, total_ms) if tick <= total_ms]
    axes.set_xticks([tick / total_ms for tick in ticks])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * total_ms:,.0f} ms"))
    axes.tick_params(axis="x", labelsize=8, colors="#57606b")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Any, height_in: float) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=COLOURS[key], label=meaning) for key, meaning in MEANINGS.items()]
    place = (0.008, 1 - 0.33 / height_in)
    figure.legend(handles=patches, loc="upper left", bbox_to_anchor=place, ncols=4, fontsize=8, frameon=False)
