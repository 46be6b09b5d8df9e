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
MOST_RESAMPLED = 100_000
"""A percentile of more values than this is known better than anyone reads it; a sample of them is resampled."""
SEED = 20251122
"""The intervals of one run are the same each time it is analysed."""


def intervals(values: Any, quantiles: tuple[float, ...] = (50, 95, 99)) -> dict[str, list[float] | None]:
    """95% bootstrap intervals (percentile method) of quantiles by "p50" and so on; None for fewer than 5 values."""
    import numpy as np

    sample = np.asarray(values, dtype=float)
    if len(sample) < 5:
        return {f"p{quantile:g}": None for quantile in quantiles}
    generator = np.random.default_rng(SEED)
    if len(sample) > MOST_RESAMPLED:
        sample = generator.choice(sample, MOST_RESAMPLED, replace=False)
    rounds = max(min(ROUNDS, int(2e7 / len(sample))), 100)
    # Resampling n of n and taking a quantile is drawing its rank: sorted once, the rank is the n-th of a Beta.
    ordered = np.sort(sample)
    found: dict[str, list[float] | None] = {}
    for quantile in quantiles:
        place = quantile / 100 * (len(ordered) - 1)
        ranks = generator.beta(place + 1, len(ordered) - place, size=rounds) * len(ordered)
        low, high = np.percentile(ordered[np.clip(ranks.astype(int), 0, len(ordered) - 1)], [2.5, 97.5])
        found[f"p{quantile:g}"] = [round(float(low), 3), round(float(high), 3)]
    return found


def tail(study: Study) -> dict[str, Any]:
    """What share of the requests slower than p95 and than p99 was cold; None where that is not known."""
    import numpy as np

    _, times = study.answered
    if not len(times) or study.label_method == "none":
        return {"p95": None, "p99": None}
    cold = study.times_ms(Label.COLD)
    shares = {}
    for quantile in (95, 99):
        limit = float(np.percentile(times, quantile))
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
    seconds = at.astype(np.int64)
    usual = float(np.median(times))
    order = np.argsort(seconds, kind="stable")
    edges = np.flatnonzero(np.diff(seconds[order], prepend=seconds[order[0]] - 1))
    last = 0.0
    for first, stop in zip(edges, [*edges[1:], len(order)], strict=True):
        if float(np.median(times[order[first:stop]])) > 2 * usual:
            last = float(seconds[order[first]]) + 1
    return last


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
