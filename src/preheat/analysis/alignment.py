"""Client records against REPORT lines in time: the offset between the two clocks, then one line for one request.

A REPORT line bears the time at which its invocation ended, a client record the time at which the answer had come: at
the right offset the two differ by a nearly constant way back. The offset (a time zone, the clocks' error and the way
back, in one figure) is where the cross-correlation of the two series peaks; a drift is the slope of what remains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BIN_MS = 20.0
MOST_BINS = 1 << 24
LEAST_BINS = 1 << 13
"""Room for the widest window over which the expected number of meetings is averaged."""
ZONES_MS = 15 * 3_600_000.0
"""Local times differ from UTC by -12 to +14 hours."""
SKEW_MS = 600_000.0
"""Two clocks that both claim UTC are not further apart than this."""
NEIGHBOURS = 6
"""REPORT lines considered on either side of a request's end."""
NOT_THERE = 9.0
"""Cost (minus logarithm of a likelihood) at which it is likelier that the line is missing."""
REST_WIDTH = 1.0
"""Standard deviation of the logarithm of the time outside the function: set-up, queues and routes change it by factors,
so it must only speak where the way back does not."""
LEAST_SPREAD_MS = 3.0
"""Both sides write milliseconds, and a busy client writes its line late."""
TOLERANCE_MS = 5.0
"""What rounding to milliseconds and logging leave between two clocks."""
MOST_DRIFT = 5e-3
"""Half a percent: no clock that a machine runs on is worse."""
FEWEST_FOR_DRIFT = 8
MOST_PAIRS = 2_000_000
MOST_ALONE = 5000
CERTAIN = 0.7
"""A label less probable than this is "unknown"."""


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


@dataclass(slots=True)
class Join:
    """`report[i]` is the line of request i or -1; `cold[i]` the probability that it was cold, all its candidates
    weighed; `gain` how much likelier the pairs are together than that none is there, `chance` what share of that
    the same series give when the clock is set wrong on purpose."""

    clock: Clock
    report: NDArray[np.int64]
    cold: Floats
    gain: float
    chance: float = 0.0


CLEAR = 10.0
"""How much likelier (logarithm, for the root of the number of requests) the pairs must be than with a wrong clock: one
request's share scatters by about 2, so this is five standard deviations."""
BLOCKS, BLOCK = 8, 1000


def candidates(end_ms: Floats, at_ms: Floats, reach_ms: float, count: int = 4) -> list[float]:
    """Offsets (client minus log) at which the two series meet best, the best first; `at_ms` sorted."""
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
    found: list[tuple[float, float]] = []
    for bins in (3, 15, 75):
        found += _peaks(meets, bins, width, float(near.max()) - base, count)
    best: list[float] = []
    for _, lag in sorted(found, reverse=True):
        offset = lag + first - base
        if all(abs(offset - other) > 10 * BIN_MS for other in best):
            best.append(offset)
    return best[: 2 * count]


def _peaks(meets: Floats, bins: int, width: float, log_span_ms: float, count: int) -> list[tuple[float, float]]:
    """(how far above what is expected around it, offset) of the highest places after smoothing over `bins`."""
    import numpy as np

    size = len(meets)
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([meets[-bins:], meets, meets[:bins]]))])
    smooth = (sums[2 * bins + 1 :] - sums[: -2 * bins - 1])[:size]
    wide = 40 * bins
    totals = np.concatenate([[0.0], np.cumsum(np.concatenate([smooth[-wide:], smooth, smooth[:wide]]))])
    around = ((totals[2 * wide + 1 :] - totals[: -2 * wide - 1]) / (2 * wide + 1))[:size]
    score = (smooth - around) / np.sqrt(around + 1)
    lags = np.arange(size) * width
    lags[lags >= size * width - log_span_ms - 2 * width] -= size * width
    found = []
    for _ in range(count):
        place = int(np.argmax(score))
        if not np.isfinite(score[place]) or score[place] <= 0:
            break
        found.append((float(score[place]), float(lags[place])))
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


def match(end_ms: Floats, response_ms: Floats, log: Any, clock: Clock) -> Join:
    """Pair requests with lines of `log` (a ServerLog): the pair that is best for both sides first, each used once."""
    import numpy as np

    pairs, cost = _pairs(end_ms, response_ms, log, clock)
    request, line = pairs
    report = np.full(len(end_ms), -1, dtype=np.int64)
    taken = np.zeros(len(log), dtype=bool)
    open_pairs = np.flatnonzero(cost < NOT_THERE)
    while len(open_pairs):
        r, j, c = request[open_pairs], line[open_pairs], cost[open_pairs]
        best_r, best_j = np.full(len(end_ms), np.inf), np.full(len(log), np.inf)
        np.minimum.at(best_r, r, c)
        np.minimum.at(best_j, j, c)
        chosen = open_pairs[(c == best_r[r]) & (c == best_j[j])]
        for pair in chosen.tolist() if len(chosen) < 1000 else _without_ties(chosen, request, line):
            if report[request[pair]] < 0 and not taken[line[pair]]:
                report[request[pair]] = line[pair]
                taken[line[pair]] = True
        open_pairs = open_pairs[(report[request[open_pairs]] < 0) & ~taken[line[open_pairs]]]
    _make_room(report, taken, request, line, cost)
    gain = float((NOT_THERE - cost[report[request] == line]).sum())
    return Join(clock, report, _cold(len(end_ms), request, line, cost, report, log), gain)


def _make_room(report: Any, taken: Any, request: Any, line: Any, cost: Any) -> None:
    """Give a request without a line one that another request can spare for a free line, where the two together fit
    better than one of them alone: the greedy choice before takes no step back."""
    import numpy as np

    usable = np.flatnonzero(cost < NOT_THERE)
    order = usable[np.argsort(request[usable], kind="stable")]
    first = np.searchsorted(request[order], np.arange(len(report) + 1))
    owner = {int(j): int(r) for r, j in enumerate(report.tolist()) if j >= 0}
    for alone in np.flatnonzero(report < 0)[:MOST_ALONE].tolist():
        best: tuple[float, int, int] | None = None
        for pair in order[first[alone] : first[alone + 1]].tolist():
            other = owner.get(int(line[pair]), -1)
            pairs = order[first[other] : first[other + 1]].tolist() if other >= 0 else []
            held = next((cost[each] for each in pairs if line[each] == line[pair]), 0.0)
            for each in pairs:
                total = float(cost[pair] + cost[each] - held)
                if not taken[line[each]] and total < (best[0] if best else NOT_THERE):
                    best = (total, pair, each)
        if best is not None:
            _, pair, each = best
            for moved in (each, pair):
                report[request[moved]] = line[moved]
                owner[int(line[moved])] = int(request[moved])
                taken[line[moved]] = True


def _without_ties(chosen: Any, request: Any, line: Any) -> list[int]:
    import numpy as np

    _, first = np.unique(request[chosen], return_index=True)
    kept = chosen[first]
    _, first = np.unique(line[kept], return_index=True)
    return [int(pair) for pair in kept[first]]


def _pairs(end_ms: Floats, response_ms: Floats, log: Any, clock: Clock) -> tuple[tuple[Any, Any], Floats]:
    """Candidate pairs and their cost, which falls with how well the way back and the rest of the time fit.

    Both terms are Student's t with four degrees of freedom: a stray value must not outweigh everything else.
    """
    import numpy as np

    place = np.searchsorted(log.at_ms, end_ms - clock.at(end_ms))
    requests, lines = [], []
    for shift in range(-NEIGHBOURS, NEIGHBOURS):
        index = place + shift
        valid = np.flatnonzero((index >= 0) & (index < len(log)))
        requests.append(valid)
        lines.append(index[valid])
    request, line = np.concatenate(requests), np.concatenate(lines)
    back = end_ms[request] - clock.at(end_ms[request]) - log.at_ms[line]
    carried = log.carried_ms[line]
    rest = response_ms[request] - log.duration_ms[line] - carried
    # An environment may have been started ahead of its request: then only the handler must fit into the response.
    early = (rest < -TOLERANCE_MS) & (carried > 0) & (response_ms[request] + TOLERANCE_MS >= log.duration_ms[line])
    possible = ((rest >= -TOLERANCE_MS) | early) & (np.abs(back) < max(12 * clock.spread_ms, 100.0))
    request, line, back, rest, early = (
        request[possible],
        line[possible],
        back[possible],
        rest[possible],
        early[possible],
    )
    rest = np.log(np.maximum(rest, 0.5))
    usual = _usual(request, back, rest)
    cost = 2.5 * np.log1p((back / clock.spread_ms) ** 2 / 4)
    cost += np.where(early, 4.0, 2.5 * np.log1p(((rest - usual) / REST_WIDTH) ** 2 / 4))
    return (request, line), cost


def _usual(request: Any, back: Floats, rest: Floats) -> float:
    """The usual time outside the function (logarithm), over each request's nearest line."""
    import numpy as np

    order = np.lexsort((np.abs(back), request))
    _, firsts = np.unique(request[order], return_index=True)
    ordered = np.sort(rest[order[firsts]])
    if not len(ordered):
        return 0.0
    held = max(len(ordered) // 3, 1)
    densest = int(np.argmin(ordered[held - 1 :] - ordered[: len(ordered) - held + 1]))
    return float(np.median(ordered[densest : densest + held]))


def _cold(count: int, request: Any, line: Any, cost: Floats, report: Any, log: Any) -> Floats:
    """Probability of cold for each request: its candidates weighed by likelihood, a line that fits another request
    better counting for less."""
    import numpy as np

    owner_cost = np.full(len(log), NOT_THERE)
    is_owned = report[request] == line
    owner_cost[line[is_owned]] = cost[is_owned]
    penalty = np.where(
        is_owned, 0.0, np.maximum(cost - owner_cost[line], 0.0) + np.where(owner_cost[line] < NOT_THERE, 2.0, 0.0)
    )
    weight = np.exp(-cost - penalty)
    total = np.bincount(request, weights=weight, minlength=count)
    cold = np.bincount(request, weights=weight * log.cold[line], minlength=count)
    found: Floats = np.divide(cold, total, out=np.full(count, 0.5), where=total > 0)
    return found


def join(end_ms: Floats, response_ms: Floats, log: Any, *, local: bool) -> Join | None:
    """The best pairing over all plausible offsets, or None where the log and the requests have nothing in common.

    Offsets are tried on some blocks of the run where it is long, the best one is then used for all of it.
    """
    import numpy as np

    tried = _blocks(end_ms)
    some_end, some_response = end_ms[tried], response_ms[tried]
    best: Join | None = None
    for offset in candidates(end_ms, log.at_ms, ZONES_MS if local else SKEW_MS):
        found = match(some_end, some_response, log, refine(some_end, log.at_ms, offset))
        if best is None or _quality(found) > _quality(best):
            best = found
    if best is None:
        return None
    wrong = [
        match(some_end, some_response, log, replace(best.clock, offset_ms=best.clock.offset_ms + shift)).gain
        for shift in (-7_321.0, 4_177.0, 11_903.0)
    ]
    chance = float(np.mean(wrong))
    matched = int((best.report >= 0).sum())
    if matched < 0.3 * min(len(some_end), len(log)) or best.gain - chance < CLEAR * len(some_end) ** 0.5:
        return None
    if len(tried) < len(end_ms):
        best = match(end_ms, response_ms, log, best.clock)
    best.chance = chance / max(best.gain, 1e-9)
    return best


def _blocks(end_ms: Floats) -> NDArray[np.int64]:
    """All requests of a short run; of a long one, blocks of neighbours, evenly over its time."""
    import numpy as np

    if len(end_ms) <= BLOCKS * BLOCK:
        return np.arange(len(end_ms))
    order = np.argsort(end_ms, kind="stable")
    starts = np.linspace(0, len(order) - BLOCK, BLOCKS).astype(int)
    return np.concatenate([order[start : start + BLOCK] for start in starts])


def _quality(found: Join) -> tuple[float, float]:
    return found.gain, -found.clock.spread_ms
