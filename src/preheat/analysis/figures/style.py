"""How figures look: one page, one palette, ticks that read as numbers."""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
Drawn = TypeVar("Drawn")

# Okabe and Ito's palette, safe for the colour-blind (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE, GREY = "#56b4e9", "#cc79a7", "#8a8f98"

# Chosen so that they occur nowhere else: the page replaces them by its own CSS variables, light or dark.
INK, FAINT, GRID, PAPER = "#1b1f24", "#57606b", "#d9dde2", "#fefefd"
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)", PAPER: "var(--card)"}

WIDE_IN, NARROW_IN = 9.0, 4.3
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
}


def styled(draw: Callable[Given, Drawn]) -> Callable[Given, Drawn]:
    """Run a drawing function under our settings, leaving matplotlib's own as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Given.args, **kwargs: Given.kwargs) -> Drawn:
        import matplotlib as mpl

        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(
    narrow: bool, rows: list[float], height_in: float, *, share_x: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot (nothing global), one axes for each of `rows` (their relative heights)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width_in = NARROW_IN if narrow else WIDE_IN
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=share_x, gridspec_kw={"height_ratios": rows})
    return figure, list(grid[:, 0])


def title(figure: Figure, text: str, narrow: bool) -> None:
    """The finding, left-aligned over the figure."""
    lines = textwrap.fill(text, 42 if narrow else 88)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=11.5 if narrow else 12.5, fontweight="bold", color=INK)


def is_wide_range(low: float, high: float) -> bool:
    """Whether values span so much that only a logarithmic axis shows them all."""
    return low > 0 and high / low > 12


def milliseconds(axis: XAxis | YAxis, low: float, high: float, *, fine: bool = False) -> None:
    """Ticks that read as milliseconds; logarithmic where the range asks for it (1, 10, 100, 1,000; where
    there is room, `fine`, with 2 and 5 between)."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if not is_wide_range(low, high):
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    steps = (1.0, 2.0, 5.0) if high / low < (3000 if fine else 100) else (1.0,)
    ticks = [step * 10.0**power for power in range(-3, 8) for step in steps]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.01 <= tick <= high * 1.01]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def note(axes: Axes, text: str) -> None:
    """Say in the middle of an empty graph why it is empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=11, wrap=True)


def save(figure: Figure, stem: Path) -> None:
    """Write `<stem>.png` and `<stem>.svg`, the same bytes for the same figure."""
    figure.savefig(stem.with_suffix(".png"), dpi=144, metadata={"Software": "preheat"})
    stem.with_suffix(".svg").write_text(_svg(figure, stem.name), encoding="utf-8")


def png(figure: Figure) -> bytes:
    """The figure as a notebook shows it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _svg(figure: Figure, salt: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "preheat"})
    return buffer.getvalue()


def inline_svg(figure: Figure, prefix: str) -> str:
    """An `<svg>` element for an HTML page: ids made unique by `prefix`, ink and paper from the page's CSS variables."""
    svg = _svg(figure, prefix)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:)?href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
