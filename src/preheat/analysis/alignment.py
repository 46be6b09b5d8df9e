"""Client records against REPORT lines in time: the offset between the two clocks, then one line for one request.

A REPORT line bears the time at which its invocation ended, a client record the time at which the answer had come: at
the right offset the two differ by a nearly constant way back. The offset (a time zone, the clocks' error and the way
back, in one figure) is where the cross-correlation of the two series peaks; a drift is the slope of what remains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from preheat.analysis.clocks import MOST_PAIRS, NEAR_MS, Clock, candidates, refine, strangeness_ms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ZONES_MS = 15 * 3_600_000.0
"""Local times differ from UTC by -12 to +14 hours."""
SKEW_MS = 600_000.0
"""Two clocks that both claim UTC are not further apart than this."""
NEIGHBOURS = 6
"""REPORT lines considered on either side of a request's end."""
CROWD = 64
"""Requests considered on either side of a cold line: all that wait for a start are answered at its end."""
NOT_THERE = 9.0
"""Cost (minus logarithm of a likelihood) at which it is likelier that the line is missing."""
REST_WIDTH = 1.0
"""Standard deviation of the logarithm of the time outside the function: set-up, queues and routes change it by factors,
so it must only speak where the way back does not."""
TOLERANCE_MS = 5.0
"""What rounding to milliseconds and logging leave between two clocks."""
MOST_ALONE = 5000
MOST_AT_ONCE = 1 << 20
"""Pairs weighed together, for the memory that takes."""
MOST_ODDS = 3.0
"""Logarithm of the best odds of a line that another pairing would give: the pairs as they stand are nearly the best."""
CERTAIN = 0.7
"""A label less probable than this is "unknown"."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The client's records, in ms: when each answer had come, how long it took, and how much of that setting the
    connection up usually takes (0 but for first requests). No line knows of set-up, so that without it first requests
    fit as others do; but it is a guess, and never makes a pair impossible."""

    end_ms: Floats
    response_ms: Floats
    setup_ms: Floats

    def at(self, places: Any) -> Sent:
        return Sent(self.end_ms[places], self.response_ms[places], self.setup_ms[places])


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
SAME_MS = 500.0
"""Clocks this near are one clock; users who wait in step repeat themselves after a second or more."""


def match(sent: Sent, log: Any, clock: Clock) -> Join:
    """Pair requests with lines of `log` (a ServerLog): the pair that is best for both sides first, each used once."""
    import numpy as np

    end_ms = sent.end_ms
    fit = _Fit(sent, log, clock)
    request, line, cost = _pairs(fit)
    report = np.full(len(end_ms), -1, dtype=np.int64)
    taken = np.zeros(len(log), dtype=bool)
    open_pairs = np.flatnonzero(cost < NOT_THERE)
    while len(open_pairs):
        r, j, c = request[open_pairs], line[open_pairs], cost[open_pairs]
        best_r, best_j = np.full(len(end_ms), np.inf), np.full(len(log), np.inf)
        np.minimum.at(best_r, r, c)
        np.minimum.at(best_j, j, c)
        chosen = open_pairs[(c == best_r[r]) & (c == best_j[j])]
        chosen = _without_ties(chosen, request, line)
        report[request[chosen]] = line[chosen]
        taken[line[chosen]] = True
        open_pairs = open_pairs[(report[request[open_pairs]] < 0) & ~taken[line[open_pairs]]]
    _make_room(report, taken, request, line, cost)
    gain = float((NOT_THERE - cost[report[request] == line]).sum())
    return Join(clock, report, _cold(fit, request, line, cost, report), gain)


def _make_room(report: Any, taken: Any, request: Any, line: Any, cost: Any) -> None:
    """Give a request without a line one that another request can spare for a free line, where the two together fit
    better than one of them alone: the greedy choice before takes no step back."""
    import numpy as np

    usable = np.flatnonzero(cost < NOT_THERE)
    order = usable[np.argsort(request[usable], kind="stable")]
    first = np.searchsorted(request[order], np.arange(len(report) + 1))
    owner = np.full(len(taken), -1, dtype=np.int64)
    owner[report[report >= 0]] = np.flatnonzero(report >= 0)
    for alone in np.flatnonzero(report < 0)[:MOST_ALONE].tolist():
        best: tuple[float, int, int] | None = None
        for pair in order[first[alone] : first[alone + 1]].tolist():
            other = int(owner[line[pair]])
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
                owner[line[moved]] = request[moved]
                taken[line[moved]] = True


def _without_ties(chosen: Any, request: Any, line: Any) -> Any:
    """The pairs with no request and no line twice, the first of each kept."""
    import numpy as np

    _, first = np.unique(request[chosen], return_index=True)
    kept = chosen[first]
    _, first = np.unique(line[kept], return_index=True)
    return kept[first]


@dataclass(slots=True)
class _Fit:
    """How well a request and a line fit. `usual`: logarithm of the usual time outside the function."""

    sent: Sent
    log: Any
    clock: Clock
    usual: float = 0.0

    def differences(self, request: Any, line: Any) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """(way back, logarithm of the time outside the function and set-up, whether the environment began to start
        before the request, whether the two can belong together) of each pair."""
        import numpy as np

        sent, log = self.sent.at(request), self.log
        end_ms, response_ms = sent.end_ms, sent.response_ms
        back = end_ms - self.clock.at(end_ms) - log.at_ms[line]
        carried = log.carried_ms[line]
        rest = response_ms - log.duration_ms[line] - carried
        # An environment may have been started ahead of its request: then only the handler must fit into the response.
        early = (rest < -TOLERANCE_MS) & (carried > 0) & (response_ms + TOLERANCE_MS >= log.duration_ms[line])
        possible = ((rest >= -TOLERANCE_MS) | early) & (np.abs(back) < max(12 * self.clock.spread_ms, 100.0))
        outside = np.log(np.maximum(np.maximum(rest - sent.setup_ms, 0.2 * rest), 0.5))
        return back, outside, early, possible

    def cost(self, request: Any, line: Any) -> Floats:
        """Minus logarithm of a likelihood, infinite where the two cannot belong together. Both terms are Student's t
        with four degrees of freedom: a stray value must not outweigh everything else."""
        import numpy as np

        back, outside, early, possible = self.differences(request, line)
        found = 2.5 * np.log1p((back / self.clock.spread_ms) ** 2 / 4)
        found += np.where(early, 4.0, 2.5 * np.log1p(((outside - self.usual) / REST_WIDTH) ** 2 / 4))
        return np.where(possible, found, np.inf)


def _pairs(fit: _Fit) -> tuple[Any, Any, Floats]:
    """(request, line, cost) of the pairs that can be; tells `fit` what is usual among them."""
    import numpy as np

    end_ms, log = fit.sent.end_ms, fit.log
    expected = end_ms - fit.clock.at(end_ms)
    place = np.searchsorted(log.at_ms, expected)
    found: list[tuple[Any, ...]] = []

    def keep(request: Any, line: Any) -> None:
        """Those of the pairs that can be: of a million requests all of them at once would be a gigabyte."""
        back, outside, _, possible = fit.differences(request, line)
        pairs = (request[possible].astype(np.int32), line[possible].astype(np.int32))
        found.append((*pairs, back[possible], outside[possible]))

    for shift in range(-NEIGHBOURS, NEIGHBOURS):
        index = place + shift
        valid = np.flatnonzero((index >= 0) & (index < len(log)))
        keep(valid, index[valid])
    order, cold = np.argsort(expected, kind="stable"), np.flatnonzero(log.is_cold)
    reach = min(CROWD, MOST_PAIRS // (2 * len(cold) + 1))
    middle = np.searchsorted(expected[order], log.at_ms[cold])
    for shift in range(-reach, reach):
        index = middle + shift
        valid = (index >= 0) & (index < len(order))
        request, line = order[index[valid]], cold[valid]
        new = np.abs(line - place[request] + 0.5) > NEIGHBOURS
        keep(request[new], line[new])
    request, line, back, outside = (np.concatenate(column) for column in zip(*found, strict=True))
    found.clear()
    fit.usual = _usual(request, back, outside)
    del back, outside
    return request, line, np.concatenate([fit.cost(request[chunk], line[chunk]) for chunk in _chunks(len(request))])


def _chunks(pairs: int) -> list[slice]:
    """All pairs, so many of them together as memory should hold; one piece at least."""
    return [slice(first, first + MOST_AT_ONCE) for first in range(0, max(pairs, 1), MOST_AT_ONCE)]


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


def _cold(fit: _Fit, request: Any, line: Any, cost: Floats, report: Any) -> Floats:
    """Probability of cold for each request: its own line against each line that it could have had instead.

    What speaks for another line is how little dearer all pairs together would be if the line's request took this one's
    in exchange. Of requests that fit a cold line alike, each is cold with an equal share, and the shares sum to one.
    """
    import numpy as np

    log, count = fit.log, len(report)
    found = np.where(report >= 0, log.cold[report], 0.5)
    coldest, warmest = np.zeros(count), np.ones(count)
    np.maximum.at(coldest, request, log.cold[line])
    np.minimum.at(warmest, request, log.cold[line])
    mixed = coldest > warmest
    kept = mixed[request]  # where all lines say the same there is nothing to weigh
    request, line, cost = request[kept], line[kept], cost[kept]
    owner = np.full(len(log), -1, dtype=np.int64)
    owner[report[report >= 0]] = np.flatnonzero(report >= 0)

    def cost_of(who: Any, which: Any) -> Floats:
        """Of that pair; where one side is missing, or the two cannot be a pair, what a missing line costs."""
        return np.where((who >= 0) & (which >= 0), np.minimum(fit.cost(who, which), NOT_THERE), NOT_THERE)

    total, cold = np.zeros(count), np.zeros(count)
    for chunk in _chunks(len(request)):
        who, which = request[chunk], line[chunk]
        own, other = report[who], owner[which]
        now = cost_of(who, own) + np.where(other >= 0, cost_of(other, which), 0.0)
        then = cost[chunk] + np.where(other >= 0, cost_of(other, own), 0.0)
        weight = np.where(own == which, 1.0, np.exp(np.minimum(now - then, MOST_ODDS)))
        total += np.bincount(who, weights=weight, minlength=count)
        cold += np.bincount(who, weights=weight * log.cold[which], minlength=count)
    weighed: Floats = np.divide(cold, total, out=found, where=mixed & (total > 0))
    return weighed


def join(sent: Sent, log: Any, *, local: bool) -> Join | None:
    """The best pairing over all plausible offsets, or None where the log and the requests have nothing in common.

    Offsets are tried on some blocks of the run where it is long, the best one is then used for all of it.
    """
    import numpy as np

    tried = _blocks(sent.end_ms)
    some = sent.at(tried)
    clear = CLEAR * len(tried) ** 0.5
    offsets = candidates(sent.end_ms, log.at_ms, ZONES_MS if local else SKEW_MS, local=local)
    best = _best([match(some, log, refine(some.end_ms, log.at_ms, offset)) for offset in offsets], clear, local=local)
    if best is None:
        return None
    wrong = [
        match(some, log, replace(best.clock, offset_ms=best.clock.offset_ms + shift)).gain
        for shift in (-7_321.0, 4_177.0, 11_903.0)
    ]
    chance = float(np.mean(wrong))
    matched = int((best.report >= 0).sum())
    if matched < 0.3 * min(len(tried), len(log)) or best.gain - chance < clear:
        return None
    if len(tried) < len(sent.end_ms):
        best = match(sent, log, best.clock)
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


def _best(found: list[Join], clear: float, *, local: bool) -> Join | None:
    """The likeliest join. Where another offset does nearly as well (users in step, or a log of several such runs), the
    only one of them that good clocks can have; None where that does not tell either."""
    if not found:
        return None
    best = max(found, key=lambda each: (each.gain, -each.clock.spread_ms))
    rivals = [each for each in found if each.gain > best.gain - clear and not _same(each, best)]
    if not rivals:
        return best
    likely: list[Join] = []
    for each in (best, *rivals):
        is_near = strangeness_ms(each.clock.offset_ms, local=local) <= NEAR_MS
        if is_near and not any(_same(each, other) for other in likely):
            likely.append(each)
    return likely[0] if len(likely) == 1 else None


def _same(one: Join, other: Join) -> bool:
    """Whether two joins are by the same clock, found from two sides."""
    return abs(one.clock.offset_ms - other.clock.offset_ms) < SAME_MS
