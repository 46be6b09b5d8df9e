"""Labels from Lambda's log: by request id where client and log share ids, else by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.analysis.alignment import CERTAIN, Sent, join
from preheat.analysis.clocks import Clock
from preheat.analysis.connections import Setup
from preheat.analysis.labels import Label, LabelledRequest, Method, refusal
from preheat.analysis.leftovers import doubt_by_cold_lines, pair_leftovers
from preheat.analysis.requests_csv import ClientRequest
from preheat.analysis.server_log import OK, ServerLog

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

READY_SHARE = 0.1
"""A response that leaves less than this of an initialisation beside its handler did not stand through it."""
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
    cold_matched: int
    """Cold lines that a request has, however sure it is that it was this one."""
    clock: Clock | None = None
    chance: float = 0.0


def label_by_log(
    requests: Sequence[ClientRequest], log: ServerLog, setup: Setup, *, local: bool
) -> tuple[list[LabelledRequest], LogUse] | None:
    """Labels and what they rest on; None where the log and the requests have nothing in common."""
    return _by_id(requests, log) or _by_time(requests, log, setup, local=local)


def _by_id(requests: Sequence[ClientRequest], log: ServerLog) -> tuple[list[LabelledRequest], LogUse] | None:
    """A function invoked directly answers with the request id that its log bears; API Gateway answers with its own."""
    import numpy as np

    if log.request_ids is None:
        return None
    lines = {request_id: index for index, request_id in enumerate(log.request_ids)}
    found = [lines.get(request.request_id, -1) if request.request_id else -1 for request in requests]
    if not any(index >= 0 for index in found):
        return None
    line = np.array(found, dtype=np.int64)
    labelled = _labelled(requests, line, np.where(line >= 0, log.cold[line], 0.0), log, Method.REQUEST_ID)
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
    setup_ms = np.zeros(len(open_))
    if setup.times_ms and setup.first is not None:
        setup_ms[setup.first[open_]] = float(np.median(setup.times_ms))
    found = join(Sent(end_ms, response_ms, setup_ms), log, local=local)
    if found is None:
        return None
    pair_leftovers(found, end_ms, response_ms, log)
    doubt_by_cold_lines(found, end_ms, response_ms, log)
    line, cold = np.full(len(requests), -1, dtype=np.int64), np.zeros(len(requests))
    line[open_], cold[open_] = found.report, found.cold
    labelled = _labelled(requests, line, cold, log, Method.LOG_JOIN)
    used = set(line[line >= 0].tolist())
    return labelled, _use(log, used, requests, Method.LOG_JOIN, found.clock, found.chance)


def _labelled(
    requests: Sequence[ClientRequest], line: Integers, cold: Floats, log: ServerLog, method: Method
) -> list[LabelledRequest]:
    """`line` holds each request's REPORT line or -1, `cold` its probability of cold."""
    import numpy as np

    # A handler's exception leaves no Status in its REPORT line: the answer shows it, as the line shows that it ran.
    answered_badly = np.array([request.status >= 500 for request in requests], dtype=bool)
    is_cold, failed = log.is_cold[line], (log.status[line] != OK) | answered_badly
    sure = np.where(is_cold, cold, 1 - cold)
    beside_ms = np.array([request.response_ms for request in requests]) - log.duration_ms[line]
    ready = is_cold & (beside_ms < READY_SHARE * log.carried_ms[line])
    columns = (line.tolist(), cold.tolist(), sure.tolist(), is_cold.tolist(), failed.tolist(), ready.tolist())
    labelled = []
    for request, place, chance, probability, met_cold, has_failed, was_ready in zip(requests, *columns, strict=True):
        if place < 0:
            label = refusal(request)
            known = Label.UNMATCHED if label is None else label
            labelled.append(LabelledRequest(request, known, None, -1, method, 0.0 if label is None else 1.0))
        elif probability < CERTAIN:
            doubt = max(chance, 1 - chance)
            labelled.append(LabelledRequest(request, Label.UNKNOWN, None, place, method, doubt, has_failed))
        else:
            label = Label.COLD if met_cold else Label.FAILED_IN_FUNCTION if has_failed else Label.WARM
            labelled.append(LabelledRequest(request, label, None, place, method, probability, has_failed, was_ready))
    return labelled


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
        method=method,
        matched=len(used),
        left_over=int(left.sum()),
        cold_left_over=int((left & log.is_cold).sum()),
        outside=int((free & ~inside).sum()),
        cold_matched=int((~free & log.is_cold).sum()),
        clock=clock,
        chance=chance,
    )
