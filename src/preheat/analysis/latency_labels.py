"""Labels from the client's times alone. It says "cold" only where a population of slow requests stands apart from the
fast ones and connection set-up cannot explain it; what could be either stays "unknown".

What it assumes: environments are kept between requests, so that the bulk of the users' later requests is warm. Times
alone cannot tell a run in which every request is cold from one in which none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from preheat.analysis.connections import MOST_ROUND_TRIPS, Setup
from preheat.analysis.labels import Label, LabelledRequest, Method, refusal
from preheat.analysis.mixture import split
from preheat.analysis.requests_csv import ClientRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_SURE = 0.9
"""No label from times alone is surer: a slow population may have another cause than cold starts."""
SURE = 0.7
LEAST_RATIO, LEAST_EXCESS_MS = 1.25, 40.0
"""A population nearer to the fast one than this is not called cold: routes and garbage collection differ as much."""
FEWEST_COLD = 3
"""Fewer slow requests, none of them a user's first, are stray values and no population."""
FEWEST_LATER = 5


@dataclass(slots=True)
class Model:
    """`populations` found by the gate (1 where it found no second); `explained_by_setup` slow first requests that
    set-up alone explains."""

    populations: int = 1
    explained_by_setup: int = 0
    strays: int = 0
    notes: list[str] = field(default_factory=list)


def label_by_times(requests: Sequence[ClientRequest], setup: Setup) -> tuple[list[LabelledRequest], Model]:
    """Labels of all requests, and what the model found."""
    import numpy as np

    model = Model()
    sure = np.zeros(len(requests))
    labels = [refusal(request) or Label.UNKNOWN for request in requests]
    served = np.array([index for index, request in enumerate(requests) if request.ok], dtype=np.int64)
    if len(served):
        measured = setup.method == "measured"
        times = np.array([requests[i].response_ms - (requests[i].setup_ms or 0.0 if measured else 0.0) for i in served])
        nobody = np.zeros(len(served), dtype=bool)
        first = nobody if setup.first is None else setup.first[served]
        starting = nobody if setup.starting is None else setup.starting[served]
        found, chance = _classify(times, first, starting, setup, model)
        for place, index in enumerate(served.tolist()):
            labels[index], sure[index] = found[place], chance[place]
    labelled = []
    for request, label, probability in zip(requests, labels, sure.tolist(), strict=True):
        is_refused = label in (Label.FAILED_BEFORE_FUNCTION, Label.THROTTLED)
        method = Method.NONE if label is Label.UNKNOWN else Method.LATENCY_MODEL
        labelled.append(LabelledRequest(request, label, method=method, probability=1.0 if is_refused else probability))
    return labelled, model


def _classify(
    times: Floats, first: NDArray[np.bool_], starting: NDArray[np.bool_], setup: Setup, model: Model
) -> tuple[list[Label], Floats]:
    """First requests and later ones apart, because set-up makes them two populations even where nothing is cold."""
    import numpy as np

    apart = setup.method != "measured" and first.any() and (~first).sum() >= FEWEST_LATER
    if not apart:
        return _mixed(times, first, setup, model)
    labels = [Label.UNKNOWN] * len(times)
    sure = np.zeros(len(times))
    later, firsts = np.flatnonzero(~first), np.flatnonzero(first)
    slow_later = _slow(times[later], model)
    usual = float(np.median(times[later][slow_later < 0.5]))
    slow_first = _slow_firsts(times[firsts], usual, setup, model)
    _doubt_missed_firsts(times, starting, later, slow_later, firsts, slow_first, setup, model)
    _doubt_the_middle(times, later, slow_later, firsts, slow_first, setup, model)
    _settle(labels, sure, later, slow_later, times, model)
    if slow_first is None and model.populations == 1 and not model.explained_by_setup:
        return [Label.UNKNOWN] * len(times), np.zeros(len(times))
    if slow_first is not None:
        _settle(labels, sure, firsts, slow_first, times, model, few_are_enough=True)
    if model.populations == 1:  # only set-up tells the two apart: the later ones are warm by the assumption above
        model.populations = 2
    for index in later[slow_later < 1 - SURE]:
        labels[index], sure[index] = Label.WARM, min(float(1 - slow_later[np.searchsorted(later, index)]), 0.8)
    return labels, sure


def _doubt_missed_firsts(
    times: Floats,
    starting: NDArray[np.bool_],
    later: NDArray[np.int64],
    slow_later: Floats,
    firsts: NDArray[np.int64],
    slow_first: Floats | None,
    setup: Setup,
    model: Model,
) -> None:
    """A ramp tells first requests by the clock, and takes some for others: of two populations among those sent while
    users were started, one may be first requests and nothing else. What set-up can explain there is left open."""
    for places, slow in ((later, slow_later), (firsts, slow_first)):
        if slow is None:
            continue
        doubtful = (slow > 0.5) & starting[places] & (times[places] <= setup.limit_ms)
        slow[doubtful] = 0.5
        model.explained_by_setup += int(doubtful.sum())
    sure = (slow_later > SURE).any() or (slow_first is not None and (slow_first > SURE).any())
    if model.explained_by_setup and not sure:
        model.populations = 1


def _doubt_the_middle(
    times: Floats,
    later: NDArray[np.int64],
    slow_later: Floats,
    firsts: NDArray[np.int64],
    slow_first: Floats | None,
    setup: Setup,
    model: Model,
) -> None:
    """Slow first requests and slow later ones together may be two populations: then only the slower one is called
    cold, in both, and the other left open. Set-up is taken off the first ones to compare them."""
    import numpy as np

    if slow_first is None or not (slow_later > SURE).any() or not (slow_first > SURE).any():
        return
    setup_ms = float(np.median(setup.times_ms)) if setup.times_ms else 0.0
    later_ms, first_ms = times[later], times[firsts] - setup_ms
    parted = split(np.concatenate([later_ms[slow_later > SURE], np.maximum(first_ms[slow_first > SURE], 1.0)]))
    if parted is None:
        return
    model.populations = 3
    slow_later[(slow_later > SURE) & (later_ms <= parted.threshold_ms)] = 0.5
    slow_first[(slow_first > SURE) & (first_ms <= parted.threshold_ms)] = 0.5


def _slow_firsts(times: Floats, usual: float, setup: Setup, model: Model) -> Floats | None:
    """Probability of each first request to be cold; None where set-up, or nothing, makes them as slow as they are."""
    import numpy as np

    limit = setup.limit_ms or usual * (1 + MOST_ROUND_TRIPS)
    parted = split(times)
    if parted is not None and _apart(times, parted.threshold_ms):
        model.populations = max(model.populations, 2)
        fast = times[times <= parted.threshold_ms]
        if float(np.median(fast)) > limit:  # both populations beyond set-up: cold starts of two kinds
            return np.ones(len(times))
        return np.array(parted.upper)
    if float(np.median(times)) > limit:
        model.populations = max(model.populations, 2)
        return np.where(times > limit, 1.0, 0.5)
    if float(np.median(times)) > LEAST_RATIO * usual:
        model.explained_by_setup = len(times)
    return None


def _slow(times: Floats, model: Model) -> Floats:
    """Probability of each later request to be of the slow population; zeros where there is one population."""
    import numpy as np

    parted = split(times)
    if parted is None or not _apart(times, parted.threshold_ms):
        return np.zeros(len(times))
    slow = times > parted.threshold_ms
    if slow.sum() < FEWEST_COLD:
        model.strays += int(slow.sum())
        return np.where(slow, 0.5, 0.0)
    model.populations = 2
    upper = np.array(parted.upper)
    again = split(times[slow])
    if again is not None and _apart(times[slow], again.threshold_ms):
        model.populations = 3
        # Of three populations the slowest is cold and the fastest warm; the one between may be either.
        middle = slow & (times <= again.threshold_ms)
        upper[middle] = 0.5
    return upper


def _apart(times: Floats, threshold_ms: float) -> bool:
    """Whether the medians on either side of the threshold differ as cold and warm do."""
    import numpy as np

    fast, slow = float(np.median(times[times <= threshold_ms])), float(np.median(times[times > threshold_ms]))
    return slow > LEAST_RATIO * fast and slow - fast > LEAST_EXCESS_MS


def _settle(
    labels: list[Label],
    sure: Floats,
    places: NDArray[np.int64],
    slow: Floats,
    times: Floats,
    model: Model,
    *,
    few_are_enough: bool = False,
) -> None:
    """Write the labels of requests whose probability to be slow is known well enough."""
    if model.populations < 2:
        return
    cold = slow > SURE
    if not few_are_enough and cold.sum() < FEWEST_COLD:
        cold = cold & False
    for place, index in enumerate(places.tolist()):
        if cold[place]:
            labels[index], sure[index] = Label.COLD, min(float(slow[place]), MOST_SURE)
        elif slow[place] < 1 - SURE:
            labels[index], sure[index] = Label.WARM, min(float(1 - slow[place]), MOST_SURE)


def _mixed(times: Floats, first: NDArray[np.bool_], setup: Setup, model: Model) -> tuple[list[Label], Floats]:
    """All requests as one sample: set-up was measured and taken off, or nobody knows which requests were first."""
    import numpy as np

    labels = [Label.UNKNOWN] * len(times)
    sure = np.zeros(len(times))
    slow = _slow(times, model)
    strays = slow == 0.5
    if model.populations == 1 and strays.any() and first[strays].all():
        slow, model.populations = np.where(strays, 1.0, 0.0), 2  # one or two slow ones, each a user's first
    if model.populations == 1:
        return labels, sure
    if setup.method != "measured":
        fast = times[slow < 0.5]
        limit = float(np.median(fast)) + MOST_ROUND_TRIPS * float(np.percentile(fast, 25))
        doubtful = (slow > 0.5) & (times <= limit)
        model.explained_by_setup = int(doubtful.sum())
        slow = np.where(doubtful, 0.5, slow)
    _settle(labels, sure, np.arange(len(times)), slow, times, model, few_are_enough=bool(first.any()))
    return labels, sure
