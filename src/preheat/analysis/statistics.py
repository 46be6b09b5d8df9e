"""Figures beyond the plain percentiles: how sure they are, who makes the tail, and what a closed loop left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from preheat.analysis.labels import Label
from preheat.analysis.study import Study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROUNDS = 1000
FEWEST = 5
"""Fewer values than this have no interval worth the name."""
MOST_RESAMPLED = 100_000
"""A percentile of more values than this is known better than anyone reads it; a sample of them is resampled."""
SEED = 20251122
"""The intervals of one run are the same each time it is analysed."""


def intervals(values: Any, quantiles: tuple[float, ...] = (50, 95, 99)) -> dict[str, list[float] | None]:
    """95% bootstrap intervals (percentile method) of quantiles by "p50" and so on; None for fewer than `FEWEST`."""
    import numpy as np

    sample = np.asarray(values, dtype=float)
    if len(sample) < FEWEST:
        return {f"p{quantile:g}": None for quantile in quantiles}
    generator = np.random.default_rng(SEED)
    if len(sample) > MOST_RESAMPLED:
        sample = sample[generator.integers(0, len(sample), MOST_RESAMPLED)]
    rounds = max(min(ROUNDS, int(2e7 / len(sample))), 100)
    ordered = np.sort(sample)
    found: dict[str, list[float] | None] = {}
    for quantile in quantiles:
        low, high = np.percentile(_resampled(generator, ordered, quantile / 100, rounds), [2.5, 97.5])
        found[f"p{quantile:g}"] = [round(float(low), 3), round(float(high), 3)]
    return found


def difference(first: Any, other: Any, quantiles: tuple[float, ...] = (50, 95)) -> dict[str, dict[str, Any]] | None:
    """Difference of quantiles, other minus first, by "p50" and so on: `difference_ms`, a 95% bootstrap interval
    `interval_ms` (each side resampled by itself), and `clear`: whether the interval leaves out 0. None where either
    side has fewer than `FEWEST` values.

    Requests are resampled one by one; those that waited for the same start are not independent of each other, so that
    the interval of a run with few starts is rather too narrow.
    """
    import numpy as np

    left, right = np.sort(np.asarray(first, dtype=float)), np.sort(np.asarray(other, dtype=float))
    if min(len(left), len(right)) < FEWEST:
        return None
    generator = np.random.default_rng(SEED)
    found: dict[str, dict[str, Any]] = {}
    for quantile in quantiles:
        value = float(np.percentile(right, quantile) - np.percentile(left, quantile))
        draws = [_resampled(generator, side, quantile / 100, ROUNDS) for side in (right, left)]
        low, high = (float(end) for end in np.percentile(draws[0] - draws[1], [2.5, 97.5]))
        found[f"p{quantile:g}"] = {
            "difference_ms": round(value, 3),
            "interval_ms": [round(low, 3), round(high, 3)],
            "clear": low > 0 or high < 0,
        }
    return found


def _resampled(generator: Any, ordered: Floats, share: float, rounds: int) -> Floats:
    """A quantile of `rounds` resamples of a sorted sample. Resampling n of n and taking a quantile is drawing its rank,
    which is distributed as a Beta: no resample need be made."""
    import numpy as np

    place = share * (len(ordered) - 1)
    ranks = generator.beta(place + 1, len(ordered) - place, size=rounds) * len(ordered)
    found: Floats = ordered[np.clip(ranks.astype(int), 0, len(ordered) - 1)]
    return found


def share_difference(first: tuple[int, int], other: tuple[int, int]) -> dict[str, Any] | None:
    """Difference of two shares given as (part, whole), other minus first, with Newcombe's 95% interval of Wilson scores
    (Statistics in Medicine 17, 1998, method 10). None where a whole is 0."""
    if not first[1] or not other[1]:
        return None
    (p, low_p, high_p), (q, low_q, high_q) = (_wilson(*share) for share in (first, other))
    value = q - p
    low = value - ((q - low_q) ** 2 + (high_p - p) ** 2) ** 0.5
    high = value + ((high_q - q) ** 2 + (p - low_p) ** 2) ** 0.5
    clear = bool(low > 0 or high < 0)
    return {"difference": round(value, 5), "interval": [round(low, 5), round(high, 5)], "clear": clear}


def _wilson(part: int, whole: int) -> tuple[float, float, float]:
    """(share, low, high): Wilson's 95% score interval."""
    z, share = 1.959964, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * (share * (1 - share) / whole + z * z / (4 * whole * whole)) ** 0.5
    return share, middle - half, middle + half


def tail(study: Study) -> dict[str, Any]:
    """What share of the requests slower than p95 and than p99 was cold; None where that is not known."""
    import numpy as np

    _, times = study.answered
    if not len(times) or study.label_method == "none":
        return {"p95": None, "p99": None}
    cold = study.times_ms(Label.COLD)
    shares = {}
    for quantile, limit in zip((95, 99), np.percentile(times, [95, 99]).tolist(), strict=True):
        slower = int((times > limit).sum())
        shares[f"p{quantile}"] = round(int((cold > limit).sum()) / slower, 4) if slower else None
    return shares


def corrected(study: Study) -> dict[str, float | None] | None:
    """Percentiles from the moment at which requests were *intended*, which a closed loop delays while it waits (Tene's
    coordinated omission); None where the intended moments were not recorded or all requests were sent on time."""
    import numpy as np

    items = [i.request for i in study.labelled if i.request.status and i.request.intended_start_s is not None]
    if not items:
        return None
    late = np.array([max(r.start_s - (r.intended_start_s or r.start_s), 0.0) * 1000 for r in items])
    if float(late.max()) < 1.0:
        return None
    p50, p95, p99 = np.percentile(late + np.array([r.response_ms for r in items]), [50, 95, 99])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}


def audit(study: Study, cold_start_end_time_s: float | None = None) -> dict[str, Any] | None:
    """The assignment's rule, "everything sent before `cold_start_end_time` is cold", against the labels.

    Without a time given it is guessed as an eye would: the end of the last second whose median is above twice the
    median of the run. None where nothing is known to be cold or warm.
    """
    import numpy as np

    at, _ = study.answered
    cold_at, _ = study.series(Label.COLD)
    warm_at, _ = study.series(Label.WARM, Label.WARM_WAITED)
    if study.label_method == "none" or not len(at) or not len(cold_at) + len(warm_at):
        return None
    end_s = _guess(study) if cold_start_end_time_s is None else cold_start_end_time_s
    right, called = int((cold_at < end_s).sum()), int((cold_at < end_s).sum() + (warm_at < end_s).sum())
    return {
        "cold_start_end_time_s": round(float(end_s), 3),
        "guessed": cold_start_end_time_s is None,
        "called_cold": called,
        "of_them_cold": right,
        "precision": round(right / called, 4) if called else None,
        "recall": round(right / len(cold_at), 4) if len(cold_at) else None,
        "labelled": int(np.size(cold_at) + np.size(warm_at)),
    }


def _guess(study: Study) -> float:
    import numpy as np

    at, times = study.answered
    seconds = np.maximum(at, 0).astype(np.int64)
    limit = 2 * float(np.median(times))
    slow, every = np.bincount(seconds[times > limit]), np.bincount(seconds)
    slow = np.pad(slow, (0, len(every) - len(slow)))
    # The median of a second is above the limit where more than half are; only at exactly half it must be worked out.
    found = slow * 2 > every
    for second in np.flatnonzero((slow * 2 == every) & (every > 0)).tolist():
        found[second] = float(np.median(times[seconds == second])) > limit
    return float(np.flatnonzero(found)[-1] + 1) if found.any() else 0.0


def rate_over_time(study: Study) -> list[dict[str, float]]:
    """Cold requests and all answered ones in each twentieth of the run."""
    import numpy as np

    at, _ = study.answered
    if not len(at) or study.span_s <= 0:
        return []
    edges = np.linspace(0, max(study.span_s, 1e-3), 21)
    every, _ = np.histogram(at, edges)
    cold, _ = np.histogram(study.series(Label.COLD)[0], edges)
    return [
        {"from_s": round(float(low), 3), "requests": int(n), "cold": int(c)}
        for low, n, c in zip(edges, every, cold, strict=False)
    ]
