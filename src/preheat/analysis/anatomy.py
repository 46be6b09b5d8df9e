"""Where the time of one request went: parts that follow each other and sum to its response time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from preheat.analysis.labels import Label, LabelledRequest
from preheat.analysis.server_log import ServerLog
from preheat.analysis.study import Study
from preheat.kernel.events import InitDone, InvocationDone, Restored

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


def _waiting(invocation: InvocationDone, init: InitDone | Restored | None) -> list[tuple[str, float]]:
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


def from_log(item: LabelledRequest, log: ServerLog, usual_rest_ms: float, usual_setup_ms: float) -> list[Part]:
    """The parts of a request that was joined to a REPORT line: what the line says of initialisation, restore and
    handler; of the rest, what a warm request usually needs is the way, and what is more, waiting and provisioning.
    Set-up is that of the request where it was measured, else `usual_setup_ms` (0 where it opened no connection)."""
    init_ms, restore_ms = log.init_ms[item.report], log.restore_ms[item.report]
    known = [(INIT, 0.0 if init_ms != init_ms else float(init_ms))]  # nan is not itself
    known += [(RESTORE, 0.0 if restore_ms != restore_ms else float(restore_ms))]
    known += [(HANDLER, float(log.duration_ms[item.report]))]
    rest_ms = max(item.request.response_ms - sum(length for _, length in known), 0.0)
    setup_ms = min(usual_setup_ms if item.request.setup_ms is None else item.request.setup_ms, rest_ms)
    rest_ms -= setup_ms
    way_ms = min(rest_ms, usual_rest_ms)
    parts, at_ms = [], 0.0
    for name, length_ms in [(SETUP, setup_ms), (UNSEEN, rest_ms - way_ms), *known, (REST, way_ms)]:
        if length_ms > _DUST_MS:
            parts.append(Part(name, at_ms, length_ms))
            at_ms += length_ms
    return parts


def cold_anatomies(study: Study) -> list[tuple[LabelledRequest, list[Part]]]:
    """Every cold request of which the server tells something, with its parts, in the order sent."""
    return list(anatomies(study, study.select(Label.COLD)))


def anatomies(study: Study, items: Iterable[LabelledRequest]) -> Iterator[tuple[LabelledRequest, list[Part]]]:
    """Those of the requests of which the journal or the log tells something, with their parts."""
    if study.log is not None and study.use is not None:
        usual_ms, setups = _usual_rest_ms(study, study.log), _setups(study)
        for item in items:
            if item.report >= 0:
                yield item, from_log(item, study.log, usual_ms, setups(item))
        return
    for item in items:
        if item.invocation is not None:
            environment = item.invocation.environment
            yield item, anatomy(item, study.restored.get(environment) or study.inits.get(environment))


def _setups(study: Study) -> Callable[[LabelledRequest], float]:
    """The set-up to expect of a request: the usual one where it was its user's first, else none."""
    import numpy as np

    first, times = study.setup.first, study.setup.times_ms
    if first is None or not times:
        return lambda _: 0.0
    usual_ms = float(np.median(times))
    firsts = {id(item) for item, is_first in zip(study.labelled, first.tolist(), strict=True) if is_first}
    return lambda item: usual_ms if id(item) in firsts else 0.0


def _usual_rest_ms(study: Study, log: ServerLog) -> float:
    """Median of what a warm request needs beyond its handler, on a connection that was open already."""
    import numpy as np

    first = study.setup.first
    rests = [
        item.request.response_ms - float(log.duration_ms[item.report])
        for place, item in enumerate(study.labelled)
        if item.label is Label.WARM and item.report >= 0 and not (first is not None and first[place])
    ]
    return max(float(np.median(rests)), 0.0) if rests else 0.0
