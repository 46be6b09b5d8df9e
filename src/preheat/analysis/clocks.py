"""The offset between two clocks, from what both sides wrote down: client records and REPORT lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BIN_MS = 20.0
MOST_BINS = 1 << 24
LEAST_BINS = 1 << 13
"""Room for the widest window over which the expected number of meetings is averaged."""
LEAST_SPREAD_MS = 3.0
"""Both sides write milliseconds, and a busy client writes its line late."""
MOST_DRIFT = 5e-3
"""Half a percent: no clock that a machine runs on is worse."""
FEWEST_FOR_DRIFT = 8
MOST_PAIRS = 2_000_000
ZONE_MS = 900_000.0
"""Time zones differ from UTC by whole quarters of an hour."""
NEAR_MS = 10_000.0
"""Clocks that are set over the network differ by less than this once their zones are taken off. A log that holds other
runs too has many offsets at which it meets a run by chance: those that a good clock can have are tried besides."""


@dataclass(frozen=True, slots=True)
class Clock:
    """`offset_ms` at `zero_ms` (client's clock) and `drift` per ms: client time minus log time; `spread_ms` is the
    robust standard deviation of the rest."""

    offset_ms: float
    drift: float
    zero_ms: float
    spread_ms: float

    def at(self, client_ms: Any) -> Any:
        return self.offset_ms + self.drift * (client_ms - self.zero_ms)


def strangeness_ms(offset_ms: Any, *, local: bool) -> Any:
    """How far an offset (a figure or an array) is from what two right clocks show: whole quarters of an hour where the
    client's is a local one, else nothing."""
    import numpy as np

    return abs(offset_ms - ZONE_MS * np.round(offset_ms / ZONE_MS)) if local else abs(offset_ms)


def candidates(end_ms: Floats, at_ms: Floats, reach_ms: float, *, local: bool, count: int = 4) -> list[float]:
    """Offsets (client minus log) at which the two series meet best, first the best of all, then the best among those
    that good clocks have; `at_ms` sorted."""
    import numpy as np

    start, stop = float(end_ms.min()) - reach_ms, float(end_ms.max()) + reach_ms
    near = at_ms[(at_ms >= start) & (at_ms <= stop)]
    if not len(near) or not len(end_ms):
        return []
    # Each from its own beginning: what is correlated is as long as the two together, however far apart they lie.
    first, base = float(end_ms.min()), float(near.min())
    span = float(end_ms.max()) - first + float(near.max()) - base + 1
    width = max(BIN_MS, span / MOST_BINS)
    size = 1 << int(np.ceil(np.log2(span / width + LEAST_BINS)))
    client = np.bincount(((end_ms - first) / width).astype(np.int64), minlength=size).astype(float)
    server = np.bincount(((near - base) / width).astype(np.int64), minlength=size).astype(float)
    meets = np.fft.irfft(np.fft.rfft(client) * np.conj(np.fft.rfft(server)), size)
    lags = np.arange(size, dtype=np.float64) * width
    lags[lags >= size * width - (float(near.max()) - base) - 2 * width] -= size * width
    offsets: Floats = lags + first - base
    strange = strangeness_ms(offsets, local=local) > NEAR_MS
    all_over: list[tuple[float, float]] = []
    nearby: list[tuple[float, float]] = []
    for bins in (3, 15, 75):
        score = _score(meets, bins)
        nearby += _peaks(np.where(strange, -np.inf, score), bins, offsets, count)
        all_over += _peaks(score, bins, offsets, count)
    return [*_apart(all_over)[: 2 * count], *_apart(nearby)[:count]]


def _apart(found: list[tuple[float, float]]) -> list[float]:
    """The offsets of (score, offset), the best first, those left out that a better one stands beside."""
    best: list[float] = []
    for _, offset in sorted(found, reverse=True):
        if all(abs(offset - other) > 10 * BIN_MS for other in best):
            best.append(offset)
    return best


def _score(meets: Floats, bins: int) -> Floats:
    """How far the meetings at each offset, smoothed over `bins`, are above what is expected around it."""
    import numpy as np

    size = len(meets)
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([meets[-bins:], meets, meets[:bins]]))])
    smooth = (sums[2 * bins + 1 :] - sums[: -2 * bins - 1])[:size]
    wide = 40 * bins
    totals = np.concatenate([[0.0], np.cumsum(np.concatenate([smooth[-wide:], smooth, smooth[:wide]]))])
    around = ((totals[2 * wide + 1 :] - totals[: -2 * wide - 1]) / (2 * wide + 1))[:size]
    score: Floats = (smooth - around) / np.sqrt(around + 1)
    return score


def _peaks(score: Floats, bins: int, offsets: Floats, count: int) -> list[tuple[float, float]]:
    """(score, offset) of the highest places. Changes `score`."""
    import numpy as np

    found = []
    for _ in range(count):
        place = int(np.argmax(score))
        if not np.isfinite(score[place]) or score[place] <= 0:
            break
        found.append((float(score[place]), float(offsets[place])))
        score[max(place - 4 * bins, 0) : place + 4 * bins + 1] = -np.inf
    return found


def refine(end_ms: Floats, at_ms: Floats, offset_ms: float, window_ms: float = 2000.0) -> Clock:
    """The offset to the millisecond, and its drift: where the differences between requests and lines crowd, in
    windows that shrink."""
    zero = float(end_ms.min())
    clock = Clock(offset_ms, 0.0, zero, window_ms / 4)
    for reach in (window_ms, window_ms / 4, window_ms / 10, window_ms / 10):
        rest, where = _differences(end_ms, at_ms, clock, reach)
        if len(rest) < 2:
            return clock
        clock = _fit(clock, rest, where, reach)
    return clock


def _differences(end_ms: Floats, at_ms: Floats, clock: Clock, reach_ms: float) -> tuple[Floats, Floats]:
    """(client end - line - offset, client end) of all pairs within `reach_ms`; fewer requests where lines are dense."""
    import numpy as np

    expected = end_ms - clock.at(end_ms)
    first = np.searchsorted(at_ms, expected - reach_ms)
    held = np.searchsorted(at_ms, expected + reach_ms) - first
    step = int(held.sum() // MOST_PAIRS) + 1
    first, held, ends = first[::step], held[::step], end_ms[::step]
    request = np.repeat(np.arange(len(ends)), held)
    line = np.arange(len(request)) - np.repeat(np.cumsum(held) - held, held) + first[request]
    return ends[request] - clock.at(ends[request]) - at_ms[line], ends[request]


def _fit(clock: Clock, rest: Floats, where: Floats, reach_ms: float) -> Clock:
    """Correct the clock by the crowd of the differences, and by a robust line through the crowds of each eighth of the
    run where a drift makes it much stronger: with few requests a line fits any noise."""
    import numpy as np

    zero = clock.zero_ms
    centre, width, strength = _crowd(rest, reach_ms)
    still = Clock(clock.offset_ms + centre, clock.drift, zero, width)
    parts = np.minimum(((where - zero) / max(float(where.max()) - zero, 1.0) * 8).astype(int), 7)
    points = []
    for part in range(8):
        inside, at = rest[parts == part], where[parts == part]
        if len(np.unique(at)) >= FEWEST_FOR_DRIFT:
            points.append((float(at.mean()) - zero, _crowd(inside, reach_ms)[0]))
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] > a[0]]
    if len(points) < 4 or not slopes:
        return still
    slope = float(np.median(slopes))
    if abs(clock.drift + slope) > MOST_DRIFT:
        return still
    drifting, narrow, stronger = _crowd(rest - slope * (where - zero), reach_ms)
    if stronger < 1.3 * strength:
        return still
    return Clock(clock.offset_ms + drifting, clock.drift + slope, zero, narrow)


def _crowd(rest: Floats, reach_ms: float) -> tuple[float, float, float]:
    """(middle, standard deviation, strength) of the place where more differences meet than lines alone explain: counts
    in windows of several widths against what an even spread over `reach_ms` gives."""
    import numpy as np

    counts, _ = np.histogram(rest, bins=int(2 * reach_ms), range=(-reach_ms, reach_ms))
    sums = np.concatenate([[0], np.cumsum(counts)])
    best = (0.0, LEAST_SPREAD_MS, -1.0)
    for width in (4, 9, 18, 36, 72, 144, 288):
        if width >= len(counts):
            break
        held = sums[width:] - sums[:-width]
        even = len(rest) * width / len(counts)
        place = int(np.argmax(held))
        strength = float(held[place] - even) / (even + 1) ** 0.5 / width**0.1  # of equal ones, the narrowest
        if strength > best[2]:
            low = place - reach_ms
            middle = float(np.median(rest[(rest >= low) & (rest <= low + width)]))
            # A window of 2.8 standard deviations stands out most from an even ground.
            best = (middle, max(width / 2.8, LEAST_SPREAD_MS), strength)
    return best
