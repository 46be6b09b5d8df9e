"""Labels from Lambda's log: by request id where client and log share ids, else by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preheat.analysis.alignment import CERTAIN, Clock, join
from preheat.analysis.connections import Setup
from preheat.analysis.labels import Label, LabelledRequest, Method, refusal
from preheat.analysis.leftovers import pair_leftovers
from preheat.analysis.requests_csv import ClientRequest
from preheat.analysis.server_log import OK, ServerLog

EDGE_MS = 2000.0
"""Lines this close to the run's first and last request still count as its time."""


@dataclass(frozen=True, slots=True)
class LogUse:
    """What became of the log's lines: `matched` have a request, `left_over` lie in the run's time without one (other
    callers, retries, answers lost), `outside` lie before or after it. `clock` None where ids made it needless."""

    method: Method
    matched: int
    left_over: int
    cold_left_over: int
    outside: int
    clock: Clock | None = None
    chance: float = 0.0


def label_by_log(
    requests: Sequence[ClientRequest], log: ServerLog, setup: Setup, *, local: bool
) -> tuple[list[LabelledRequest], LogUse] | None:
    """Labels and what they rest on; None where the log and the requests have nothing in common."""
    return _by_id(requests, log) or _by_time(requests, log, setup, local=local)


def _by_id(requests: Sequence[ClientRequest], log: ServerLog) -> tuple[list[LabelledRequest], LogUse] | None:
    """A function invoked directly answers with the request id that its log bears; API Gateway answers with its own."""
    if log.request_ids is None:
        return None
    lines = {request_id: index for index, request_id in enumerate(log.request_ids)}
    found = [lines.get(request.request_id, -1) if request.request_id else -1 for request in requests]
    if not any(index >= 0 for index in found):
        return None
    labelled = [
        _labelled(request, index, float(log.cold[index]) if index >= 0 else 0.0, log, Method.REQUEST_ID)
        for request, index in zip(requests, found, strict=True)
    ]
    used = {index for index in found if index >= 0}
    return labelled, _use(log, used, requests, Method.REQUEST_ID, None, 0.0)


def _by_time(
    requests: Sequence[ClientRequest], log: ServerLog, setup: Setup, *, local: bool
) -> tuple[list[LabelledRequest], LogUse] | None:
    import numpy as np

    open_ = [index for index, request in enumerate(requests) if refusal(request) is None]
    if not open_ or not len(log) or bool(np.isnan(log.at_ms).all()):
        return None
    end_ms = np.array([requests[index].end_s * 1000 for index in open_])
    response_ms = np.array([requests[index].response_ms for index in open_])
    if setup.times_ms and setup.first is not None:  # no line knows of set-up: without it, first requests fit as others
        usual_ms = np.where(setup.first[open_], float(np.median(setup.times_ms)), 0.0)
        response_ms = np.maximum(response_ms - usual_ms, 0.2 * response_ms)
    found = join(end_ms, response_ms, log, local=local)
    if found is None:
        return None
    pair_leftovers(found, end_ms, np.array([requests[index].response_ms for index in open_]), log)
    line = dict(zip(open_, found.report.tolist(), strict=True))
    cold = dict(zip(open_, found.cold.tolist(), strict=True))
    labelled = [
        _labelled(request, line.get(index, -1), cold.get(index, 0.0), log, Method.LOG_JOIN)
        for index, request in enumerate(requests)
    ]
    used = {index for index in line.values() if index >= 0}
    return labelled, _use(log, used, requests, Method.LOG_JOIN, found.clock, found.chance)


def _labelled(request: ClientRequest, line: int, cold: float, log: ServerLog, method: Method) -> LabelledRequest:
    if line < 0:
        label = refusal(request)
        if label is None:
            return LabelledRequest(request, Label.UNMATCHED, method=method)
        return LabelledRequest(request, label, method=method, probability=1.0)
    failed = int(log.status[line]) != OK
    is_cold = bool(log.cold[line] > 0.5)
    probability = cold if is_cold else 1 - cold
    if probability < CERTAIN:
        return LabelledRequest(request, Label.UNKNOWN, None, line, method, max(cold, 1 - cold), failed)
    label = Label.COLD if is_cold else Label.FAILED_IN_FUNCTION if failed else Label.WARM
    return LabelledRequest(request, label, None, line, method, probability, failed)


def _use(
    log: ServerLog,
    used: set[int],
    requests: Sequence[ClientRequest],
    method: Method,
    clock: Clock | None,
    chance: float,
) -> LogUse:
    """Count the lines that no request took, inside the run's time and outside."""
    import numpy as np

    start_ms, end_ms = requests[0].start_s * 1000, max(request.end_s for request in requests) * 1000
    if clock is not None:
        start_ms, end_ms = start_ms - float(clock.at(start_ms)), end_ms - float(clock.at(end_ms))
    inside = (log.at_ms >= start_ms - EDGE_MS) & (log.at_ms <= end_ms + EDGE_MS)
    free = np.ones(len(log), dtype=bool)
    free[list(used)] = False
    left = free & inside
    return LogUse(
        method, len(used), int(left.sum()), int((left & log.is_cold).sum()), int((free & ~inside).sum()), clock, chance
    )
