"""Where the time of one request went: parts that follow each other and sum to its response time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preheat.analysis.journal import Invocation
from preheat.analysis.labels import Label, LabelledRequest
from preheat.analysis.server_log import ServerLog, or_zero
from preheat.analysis.study import Study
from preheat.kernel.events import InitDone, Restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SETUP = "connection set-up"
QUEUE = "waiting"
SPAWN = "process start"
RUNTIME = "runtime client import"
MODULE = "handler module import"
INIT = "initialisation"
RESTORE = "restore from a snapshot"
HANDLER = "handler"
REST = "gateway, network and client"
UNSEEN = "waiting and provisioning"
"""What only a log leaves unexplained before the function: it does not say which of the two it was."""
ORDER = (SETUP, UNSEEN, QUEUE, SPAWN, RUNTIME, MODULE, INIT, RESTORE, HANDLER, REST)

_DUST_MS = 1e-6
"""What adding and subtracting floats leaves behind."""


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    start_ms: float
    """From the moment the request was sent."""
    length_ms: float


def anatomy(item: LabelledRequest, init: InitDone | Restored | None) -> list[Part]:
    """The parts of a served request, in the order they happened; lengths of 0 are left out.

    Initialisation counts only as far as this request stood through it: an environment may have begun to start
    for an earlier request that another environment then took. What the server did not see (response time minus
    set-up, wait and handler) is one part, "gateway, network and client"; should clocks disagree so far that it
    would be negative, it is 0 and the parts exceed the response time by that much.
    """
    invocation = item.invocation
    if invocation is None:
        return []
    setup_ms = item.request.setup_ms or 0.0
    lengths = [(SETUP, setup_ms), *_waiting(invocation, init), (HANDLER, invocation.duration_ms)]
    rest_ms = item.request.response_ms - sum(length for _, length in lengths)
    parts, at_ms = [], 0.0
    for name, length_ms in [*lengths, (REST, max(rest_ms, 0.0))]:
        if length_ms > _DUST_MS:
            parts.append(Part(name, at_ms, length_ms))
            at_ms += length_ms
    return parts


def _waiting(invocation: Invocation, init: InitDone | Restored | None) -> list[tuple[str, float]]:
    """`wait_ms` taken apart: before the environment began to start, its init, and after that."""
    wait_ms = invocation.wait_ms
    if init is None or not invocation.cold:
        return [(QUEUE, wait_ms)]
    ended_ms = min(max(init.at_ms - invocation.at_ms, 0.0), wait_ms)
    if isinstance(init, Restored):
        restore_ms = min(init.restore_ms, ended_ms)
        return [(QUEUE, ended_ms - restore_ms), (RESTORE, restore_ms), (QUEUE, wait_ms - ended_ms)]
    begun_ms = ended_ms - init.init_ms
    named = [(SPAWN, init.spawn_ms or 0.0), (RUNTIME, init.runtime_ms or 0.0), (MODULE, init.handler_ms or 0.0)]
    unnamed_ms = init.init_ms - sum(length for _, length in named)
    pieces = [(QUEUE, max(begun_ms, 0.0))]
    cursor_ms = begun_ms
    for name, length_ms in [*named, (INIT, max(unnamed_ms, 0.0))]:
        end_ms = min(cursor_ms + length_ms, ended_ms)
        pieces.append((name, max(end_ms - max(cursor_ms, 0.0), 0.0)))
        cursor_ms += length_ms
    return [*pieces, (QUEUE, wait_ms - ended_ms)]


def by_name(parts: list[Part]) -> dict[str, float]:
    """Milliseconds by part, in the order of `ORDER`, parts of the same name together."""
    total: dict[str, float] = {}
    for name in ORDER:
        length_ms = sum(part.length_ms for part in parts if part.name == name)
        if length_ms > 0:
            total[name] = length_ms
    return total


def cold_anatomies(study: Study) -> list[tuple[LabelledRequest, list[Part]]]:
    """Every cold request of which the server tells something, with its parts, in the order sent."""
    return list(anatomies(study, study.select(Label.COLD)))


def anatomies(study: Study, items: Sequence[LabelledRequest]) -> Iterator[tuple[LabelledRequest, list[Part]]]:
    """Those of the requests of which the journal or the log tells something, with their parts."""
    if study.log is not None and study.use is not None:
        for item, lengths_ms in zip(items, log_lengths(study, study.log, items), strict=True):
            if item.report >= 0:
                yield item, _in_order(lengths_ms.tolist())
        return
    for item in items:
        if item.invocation is not None:
            environment = item.invocation.environment
            yield item, anatomy(item, study.restored.get(environment) or study.inits.get(environment))


def _in_order(lengths_ms: Sequence[float]) -> list[Part]:
    parts, at_ms = [], 0.0
    for name, length_ms in zip(ORDER, lengths_ms, strict=True):
        if length_ms > 0:
            parts.append(Part(name, at_ms, length_ms))
            at_ms += length_ms
    return parts


def lengths(study: Study) -> Floats:
    """Milliseconds by request (rows, in the order sent) and part (columns, as `ORDER`); 0 where a part is left out or
    nothing is known: `anatomies` of every request, worked out together, and once for each study."""
    if study.lengths_ms is None:
        study.lengths_ms = _lengths(study)
    return study.lengths_ms


def _lengths(study: Study) -> Floats:
    import numpy as np

    items = study.labelled
    if study.log is not None and study.use is not None:
        return log_lengths(study, study.log, items)
    found = np.zeros((len(items), len(ORDER)))
    known = np.flatnonzero(np.fromiter((item.invocation is not None for item in items), bool, len(items)))
    rows = [(item.request.setup_ms or 0.0, i.wait_ms, i.duration_ms) for item in items if (i := item.invocation)]
    seen_ms = np.array(rows, dtype=float).reshape(-1, 3)
    response_ms = np.array([items[place].request.response_ms for place in known.tolist()])
    found[known[:, None], [ORDER.index(name) for name in (SETUP, QUEUE, HANDLER)]] = seen_ms
    found[known, ORDER.index(REST)] = np.maximum(response_ms - seen_ms.sum(axis=1), 0.0)
    started = [place for place in known.tolist() if (record := items[place].invocation) and record.cold]
    for place, (_, parts) in zip(started, anatomies(study, [items[place] for place in started]), strict=True):
        named = by_name(parts)
        found[place] = [named.get(name, 0.0) for name in ORDER]
    found[found <= _DUST_MS] = 0.0
    return found


def log_lengths(study: Study, log: ServerLog, items: Sequence[LabelledRequest]) -> Floats:
    """The same of requests that were joined to REPORT lines: what the line says of initialisation, restore and handler;
    of the rest, what a warm request usually needs is the way, and what is more, waiting and provisioning. Set-up is
    that of the request where it was measured, else the usual one where it was its user's first."""
    import numpy as np

    report = np.fromiter((item.report for item in items), np.int64, len(items))
    known = report >= 0
    line = report[known]
    response_ms = np.array([item.request.response_ms for item in items if item.report >= 0])
    usual_ms = _usual_rest_ms(study, log)
    beside_ms = np.maximum(response_ms - log.duration_ms[line], 0.0)
    started_ms = [or_zero(log.init_ms[line]), or_zero(log.restore_ms[line])]
    # A start that is longer than the response allows began before the request: it stood through the end of it at most.
    room_ms = np.where(sum(started_ms) > beside_ms, np.maximum(beside_ms - usual_ms, 0.0), np.inf)
    server_ms = [np.minimum(each, room_ms) for each in started_ms] + [log.duration_ms[line]]
    rest_ms = np.maximum(response_ms - sum(server_ms), 0.0)
    setup_ms = np.minimum(_setup_ms(study, [item for item in items if item.report >= 0]), rest_ms)
    way_ms = np.minimum(rest_ms - setup_ms, usual_ms)
    columns = dict(zip((INIT, RESTORE, HANDLER), server_ms, strict=True))
    columns |= {SETUP: setup_ms, UNSEEN: rest_ms - setup_ms - way_ms, REST: way_ms}
    found = np.zeros((len(items), len(ORDER)))
    for name, lengths_ms in columns.items():
        found[known, ORDER.index(name)] = lengths_ms
    found[found <= _DUST_MS] = 0.0
    return found


def _setup_ms(study: Study, items: Sequence[LabelledRequest]) -> Floats:
    """Each request's set-up as measured; else the usual one where it was its user's first, else none."""
    import numpy as np

    first, times = study.setup.first, study.setup.times_ms
    usual_ms = float(np.median(times)) if times else 0.0
    firsts = set() if first is None else {id(study.labelled[place]) for place in np.flatnonzero(first).tolist()}
    expected = (usual_ms if id(item) in firsts else 0.0 for item in items)
    measured = (item.request.setup_ms for item in items)
    return np.array([known if ms is None else ms for ms, known in zip(measured, expected, strict=True)], dtype=float)


def _usual_rest_ms(study: Study, log: ServerLog) -> float:
    """Median of what a warm request needs beyond its handler, on a connection that was open already."""
    import numpy as np

    warm = np.fromiter((i.label is Label.WARM and i.report >= 0 for i in study.labelled), bool, len(study.labelled))
    if study.setup.first is not None:
        warm &= ~study.setup.first
    chosen = [study.labelled[place] for place in np.flatnonzero(warm).tolist()]
    if not chosen:
        return 0.0
    rests = np.array([i.request.response_ms for i in chosen]) - log.duration_ms[[i.report for i in chosen]]
    return max(float(np.median(rests)), 0.0)
