"""Are there two populations of response times at all, and which request belongs to which?

Everything is done on logarithms of milliseconds. A split is made only behind a gate, so that one population, however
skewed or long-tailed, stays one:

- the *gap* gate, for a few values far from the rest: under an exponential tail of the logarithm (a Pareto tail of the
  times, heavier than what networks show) the spacing below the k largest values is exponential with mean scale/k
  (Rényi 1953), which gives the probability of the widest gap; times the number of gaps it must stay under
  `MOST_LIKELY`.
- the *valley* gate, for two crowds that touch: a kernel density with Silverman's bandwidth of the whole sample (too
  smooth for two modes, so it hides weak ones) must still have two peaks with a valley below `DEEPEST_SHARE` of the
  lower one, and each side must hold a twentieth of the values and at least ten.

Membership then comes from EM for two normal components started at the split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_LIKELY = 1e-3
"""Largest probability, over all gaps together, with which one population may show the gap."""

DEEPEST_SHARE = 0.6
FEWEST_BESIDE_VALLEY = 10
_LEAST_SIGMA = 0.01
_GRID = 512


@dataclass(frozen=True, slots=True)
class Split:
    """`upper` is the probability of each value, in the order given, to be of the slower population."""

    threshold_ms: float
    upper: Floats
    gate: str
    """"gap" or "valley"."""


def split(values_ms: Any) -> Split | None:
    """The two populations of the values, or None where nothing shows that there are two."""
    import numpy as np

    logs = np.log(np.maximum(np.asarray(values_ms, dtype=float), 1e-3))
    if len(logs) < 3:
        return None
    ordered = np.sort(logs)
    threshold, gate = _gap(ordered), "gap"
    if threshold is None:
        threshold, gate = _valley(ordered), "valley"
    if threshold is None:
        return None
    upper = _expectation(logs, threshold, hard=gate == "gap")
    return Split(float(np.exp(threshold)), upper, gate)


def _gap(ordered: Floats) -> float | None:
    """Middle of the widest gap that one population would hardly show, searched from both ends."""
    from_above = _tail_gap(ordered)
    from_below = _tail_gap(-ordered[::-1])
    found = [from_above, (from_below[0], -from_below[1])]
    surprise, place = min(found)
    return place if surprise < math.log(MOST_LIKELY) else None


def _tail_gap(ordered: Floats) -> tuple[float, float]:
    """(logarithm of the probability of the most surprising gap above the middle, where it is)."""
    import numpy as np

    count = len(ordered)
    first = max(count // 2 - 1, 1)
    places = np.arange(first, count - 1)
    if not len(places):
        return 0.0, 0.0
    gaps = ordered[places + 1] - ordered[places]
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    middles = places // 2
    above = count - 1 - places
    # The scale of an exponential tail from the middle of what lies below the gap on, those above censored (total
    # time on test, Epstein and Sobel 1953). It is too large for lighter tails, which then rather stay whole.
    waits = sums[places + 1] - sums[middles] - (places + 1 - middles) * ordered[middles]
    scales = (waits + above * (ordered[places] - ordered[middles])) / (places + 1 - middles)
    # With few values below the gap the scale itself is uncertain: an upper limit of it is taken (about 3 s.d.).
    scales = np.maximum(scales * (1 + 3 / np.sqrt(places + 1 - middles)), _LEAST_SIGMA)
    surprise = -above * gaps / scales + math.log(count)
    best = int(np.argmin(surprise))
    return float(surprise[best]), float(ordered[places[best]] + gaps[best] / 2)


def _valley(ordered: Floats) -> float | None:
    """The deepest point between two peaks of the density, where both gates of the module's text are passed."""
    import numpy as np

    count = len(ordered)
    if count < 2 * FEWEST_BESIDE_VALLEY:
        return None
    quartiles = np.percentile(ordered, [25, 75])
    spread = min(float(np.std(ordered)), float(quartiles[1] - quartiles[0]) / 1.349 or math.inf)
    bandwidth = 0.9 * max(spread, _LEAST_SIGMA) * count ** (-0.2)
    grid = np.linspace(ordered[0] - 3 * bandwidth, ordered[-1] + 3 * bandwidth, _GRID)
    step = float(grid[1] - grid[0])
    bins, _ = np.histogram(ordered, bins=_GRID, range=(grid[0] - step / 2, grid[-1] + step / 2))
    reach = min(int(4 * bandwidth / step) + 1, _GRID // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / bandwidth) ** 2)
    density = np.convolve(bins, kernel, mode="same")
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    share = density / np.maximum(np.minimum(left, right), 1e-12)
    below = np.searchsorted(ordered, grid, side="right")
    fewest = max(FEWEST_BESIDE_VALLEY, count // 20)
    share[(below < fewest) | (count - below < fewest)] = 1.0
    place = int(np.argmin(share))
    # A valley must be deeper than chance: the peak beside it is known to about its square root.
    peak = float(min(left[place], right[place]))
    noise = 3 * math.sqrt(max(peak, 1.0)) / max(peak, 1.0)
    return float(grid[place]) if share[place] < DEEPEST_SHARE - min(noise, 0.5) else None


def _expectation(logs: Floats, threshold: float, *, hard: bool) -> Floats:
    """Probability of the upper component after EM, both components normal. With a wide gap (`hard`) one step is
    enough, and more of them would let a broad component swallow a few distant values."""
    import numpy as np

    upper = (logs > threshold).astype(float)
    for _ in range(1 if hard else 200):
        before = upper
        weights = [max(float(part.sum()), 1e-9) for part in (1 - upper, upper)]
        means = [float(((1 - upper) * logs).sum()) / weights[0], float((upper * logs).sum()) / weights[1]]
        sigmas = [
            max(math.sqrt(float((part * (logs - mean) ** 2).sum()) / weight), _LEAST_SIGMA * 3)
            for part, mean, weight in zip((1 - upper, upper), means, weights, strict=True)
        ]
        odds = [
            math.log(weight / len(logs)) - math.log(sigma) - 0.5 * ((logs - mean) / sigma) ** 2
            for weight, sigma, mean in zip(weights, sigmas, means, strict=True)
        ]
        upper = 1 / (1 + np.exp(np.clip(odds[0] - odds[1], -500, 500)))
        # A normal component's far side must not claim what lies beyond the other one.
        upper = np.where(logs <= means[0], np.minimum(upper, 0.5 * before), upper)
        upper = np.where(logs >= means[1], np.maximum(upper, 1 - 0.5 * (1 - before)), upper)
        if float(np.abs(upper - before).max()) < 1e-4:
            break
    if hard:
        upper = np.where(logs > threshold, np.maximum(upper, 0.95), np.minimum(upper, 0.05))
    return upper
