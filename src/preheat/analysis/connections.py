"""What opening a connection costs, kept apart from cold starts: every client's first request pays it, cold or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from preheat.analysis.inputs.locust_log import Ramp
from preheat.analysis.labels import refusal
from preheat.analysis.mixture import split
from preheat.analysis.requests_csv import ClientRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROUND_TRIPS = 4.0
"""Set-up takes one round trip for TCP and one (TLS 1.3) or two (TLS 1.2) for TLS, and one more at most for the name
and for a server far from its edge. A round trip is no longer than an answer; not the shortest one is taken, because the
round trips of a rough network differ, but the lower quartile."""

EARLY_S, LATE_S = 0.05, 0.30
"""A user's first request is sent this close to the moment the ramp starts the user."""


@dataclass(slots=True)
class Setup:
    """`method` is "measured", "refused" (from refused requests, which no function slowed), "first-requests" or "none";
    `times_ms` one value for each connection measured or inferred; `first` which requests were a user's first."""

    method: str = "none"
    times_ms: list[float] = field(default_factory=list)
    first: NDArray[np.bool_] | None = None
    limit_ms: float = 0.0
    """A first request slower than this is not explained by set-up alone. 0 where nothing is known."""
    starting: NDArray[np.bool_] | None = None
    """Which requests were sent while users were being started, by a ramp that only tells about when: any of them may
    have been a user's first. None where first requests are known for certain, or not at all."""


def find_setup(requests: Sequence[ClientRequest], ramps: Sequence[Ramp]) -> Setup:
    """Set-up as far as it can be known; first requests by user where recorded, else by the ramp."""
    measured = [ms for request in requests if (ms := request.setup_ms) is not None]
    first = first_requests(requests, ramps)
    if measured:
        return Setup("measured", measured, first)
    import numpy as np

    if not first.any():
        return Setup(first=first)
    starting = None if any(request.user for request in requests) else _starting(requests, ramps)
    times = np.array([request.response_ms for request in requests])
    refused = np.array([refusal(request) is not None and request.status > 0 for request in requests])
    if (refused & first).sum() >= 3 and (refused & ~first).sum() >= 3:
        usual = float(np.median(times[refused & ~first]))
        setup = np.maximum(times[refused & first] - usual, 0.0)
        return Setup("refused", setup.tolist(), first, float(times[refused & first].max()) * 1.25, starting)
    found = _inferred(times, first, ~refused & np.array([request.ok for request in requests]))
    found.starting = starting
    return found


def _starting(requests: Sequence[ClientRequest], ramps: Sequence[Ramp]) -> NDArray[np.bool_]:
    import numpy as np

    starts = np.array([request.start_s for request in requests])
    found = np.zeros(len(starts), dtype=bool)
    for ramp in ramps:
        end_s = ramp.start_s + ramp.users / max(ramp.per_s, 1e-6)
        found |= (starts >= ramp.start_s - EARLY_S) & (starts <= end_s + 1)
    return found


def _inferred(times: NDArray[np.float64], first: NDArray[np.bool_], good: NDArray[np.bool_]) -> Setup:
    """The excess of the fast part of the first requests over the fast part of the others, where round trips can
    explain it."""
    import numpy as np

    firsts, others = times[first & good], times[~first & good]
    if len(firsts) < 1 or len(others) < 3:
        return Setup(first=first)
    parted = split(others)
    usual = float(np.median(others if parted is None else others[others <= parted.threshold_ms]))
    limit = usual + MOST_ROUND_TRIPS * float(np.percentile(others, 25))
    parted = split(firsts)
    fast = firsts if parted is None else firsts[firsts <= parted.threshold_ms]
    excess = fast[fast <= limit] - usual
    if not len(excess) or float(np.median(excess)) < max(0.2 * usual, 0.5) or np.median(fast) > limit:
        return Setup(first=first, limit_ms=limit)
    return Setup("first-requests", np.maximum(excess, 0.0).tolist(), first, limit)


def first_requests(requests: Sequence[ClientRequest], ramps: Sequence[Ramp]) -> NDArray[np.bool_]:
    """Which requests opened a connection or were their user's first; all False where neither users nor ramp are
    known."""
    import numpy as np

    first = np.zeros(len(requests), dtype=bool)
    if any(request.connection in ("new", "reused") for request in requests):
        first[:] = [request.connection == "new" for request in requests]
        return first
    if any(request.user for request in requests):
        seen: set[str] = set()
        for index, request in enumerate(requests):
            first[index] = request.user not in seen
            seen.add(request.user)
        return first
    starts = np.array([request.start_s for request in requests])
    for ramp in ramps:
        _mark(first, starts, ramp)
    return first


def _mark(first: NDArray[np.bool_], starts: NDArray[np.float64], ramp: Ramp) -> None:
    """The requests sent nearest after each second of the ramp, as many as it starts users then."""
    import numpy as np

    users, batch, per_s = 0, 0, max(ramp.per_s, 1e-6)
    while users < ramp.users and batch < 100_000:
        single = ramp.spread or per_s < 1
        at_s = ramp.start_s + (batch / per_s if single else batch)
        wanted = 1 if single else int(min(ramp.users - users, round(per_s)))
        near = np.flatnonzero((starts >= at_s - EARLY_S) & (starts <= at_s + LATE_S) & ~first)
        chosen = near[np.argsort(np.abs(starts[near] - at_s), kind="stable")[:wanted]]
        first[chosen] = True
        users += wanted
        batch += 1
