"""What Lambda's log says of every invocation, in columns: ten million REPORT lines are ten million array elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OK, ERROR, TIMEOUT = 0, 1, 2

AFTER_TIMEOUT = 0.9
"""Probability that a REPORT next after a time-out or crash in its environment hides an initialisation: Lambda resets
the environment and initialises again inside the next invocation, without Init Duration (FIDELITY: life cycle). It is
no certainty, because the log may lack the lines between the two."""


@dataclass
class ServerLog:
    """REPORT lines in the order of time, one element of each column for each.

    `at_ms` epoch milliseconds (the line's time, which is the end of the invocation); `init_ms` and `restore_ms` nan
    where the line has none; `hidden_ms` the initialisation that only an INIT_REPORT line shows; `cold` the probability
    that the invocation carried an initialisation; `environment` a number for each log stream, -1 where unknown.
    """

    at_ms: Floats
    duration_ms: Floats
    billed_ms: Floats
    memory_mb: Floats
    max_memory_mb: Floats
    init_ms: Floats
    restore_ms: Floats
    hidden_ms: Floats
    cold: Floats
    status: NDArray[np.uint8]
    environment: NDArray[np.int32]
    request_ids: list[str] | None
    """None for logs too large to keep a string for each line."""
    init_reports: int = 0
    """INIT_REPORT lines: initialisations that failed, timed out or were repeated."""
    bad_rows: int = 0
    untimed: int = 0
    """REPORT lines without a time of their own."""
    rows: int = 0
    """Log events of any kind, where they were read one by one."""
    events: list[str] = field(default_factory=list)
    """The log lines of one invocation, a cold one where there is one."""

    def __len__(self) -> int:
        return len(self.at_ms)

    @cached_property
    def is_cold(self) -> NDArray[np.bool_]:
        return self.cold > 0.5

    @property
    def start_ms(self) -> Floats:
        """When the handler began, initialisation not counted."""
        return self.at_ms - self.duration_ms

    @cached_property
    def carried_ms(self) -> Floats:
        """Initialisation or restore as REPORT shows it; 0 where none."""
        return or_zero(self.init_ms) + or_zero(self.restore_ms)


def or_zero(values: Floats) -> Floats:
    """The values with 0 where they are absent (nan)."""
    import numpy as np

    return np.where(np.isnan(values), 0.0, values)


_COLUMNS = (
    *("at_ms", "duration_ms", "billed_ms", "memory_mb", "max_memory_mb"),
    *("init_ms", "restore_ms", "hidden_ms", "cold"),
)


@dataclass(slots=True)
class Report:
    """One REPORT line, or its JSON form. Absent figures are nan."""

    at_ms: float
    request_id: str
    duration_ms: float
    billed_ms: float
    memory_mb: float
    max_memory_mb: float
    init_ms: float
    restore_ms: float
    status: int
    stream: str


@dataclass(slots=True)
class InitReport:
    """An INIT_REPORT line: an initialisation that REPORT does not show. `phase` init or invoke, `status` "" if ok."""

    at_ms: float
    init_ms: float
    phase: str
    status: str
    stream: str


def build(reports: list[Report], inits: list[InitReport], bad_rows: int = 0) -> ServerLog:
    """The columns, with the initialisations that REPORT lines hide found from INIT_REPORT lines and time-outs."""
    import numpy as np

    reports = sorted(reports, key=lambda report: report.at_ms)
    numbers: dict[str, int] = {"": -1}
    streams = [numbers.setdefault(report.stream, len(numbers) - 1) for report in reports]
    names = ("at_ms", "duration_ms", "billed_ms", "memory_mb", "max_memory_mb", "init_ms", "restore_ms")
    log = assemble(
        {name: np.array([getattr(report, name) for report in reports], dtype=float) for name in names},
        status=np.array([report.status for report in reports], dtype=np.uint8),
        environment=np.array(streams, dtype=np.int32),
        request_ids=[report.request_id for report in reports],
        inits=[(init.at_ms, init.init_ms, numbers.get(init.stream, -2)) for init in inits],
    )
    log.bad_rows = bad_rows
    return log


def assemble(
    columns: dict[str, Floats],
    *,
    status: NDArray[np.uint8],
    environment: NDArray[np.int32],
    request_ids: list[str] | None,
    inits: list[tuple[float, float, int]],
) -> ServerLog:
    """A log from columns in the order of time; `inits` are INIT_REPORT lines as (at_ms, init_ms, environment)."""
    import numpy as np

    hidden_ms = _hidden(columns, environment, inits)
    shown = ~np.isnan(columns["init_ms"]) | ~np.isnan(columns["restore_ms"]) | ~np.isnan(hidden_ms)
    cold = np.where(shown, 1.0, np.where(follows_failure(environment, status), AFTER_TIMEOUT, 0.0))
    return ServerLog(
        **cast("dict[str, Any]", columns),
        hidden_ms=hidden_ms,
        cold=cold,
        status=status,
        environment=environment,
        request_ids=request_ids,
        init_reports=len(inits),
    )


def follows_failure(environment: NDArray[np.int32], status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which lines come next after a time-out in the same, known environment; lines are in the order of time."""
    import numpy as np

    if not ((status == TIMEOUT) & (environment >= 0)).any():
        return np.zeros(len(status), dtype=bool)
    order = np.argsort(environment, kind="stable")
    before = np.empty(len(order), dtype=np.int64)
    before[order[1:]] = order[:-1]
    before[order[0]] = order[0]
    same = (environment[before] == environment) & (before != np.arange(len(order))) & (environment >= 0)
    found: NDArray[np.bool_] = same & (status[before] == TIMEOUT)
    return found


def _hidden(columns: dict[str, Floats], environment: Any, inits: list[tuple[float, float, int]]) -> Floats:
    """Milliseconds of INIT_REPORT for the REPORT that follows it in its stream and shows no initialisation itself."""
    import numpy as np

    at_ms, init_ms = columns["at_ms"], columns["init_ms"]
    hidden = np.full(len(at_ms), np.nan)
    places = {number: np.flatnonzero(environment == number) for number in {number for _, _, number in inits}}
    for init_at_ms, length_ms, number in inits:
        inside = places[number]
        # Times of one invocation may differ by a rounding: START and INIT_REPORT often bear the same millisecond.
        place = int(np.searchsorted(at_ms[inside], init_at_ms - 1))
        if place < len(inside) and np.isnan(init_ms[inside[place]]):
            following = inside[place]
            hidden[following] = np.nansum([hidden[following], length_ms])
    return hidden


def join_logs(logs: list[ServerLog]) -> ServerLog | None:
    """Several logs as one, lines that stand in more than one of them counted once (by request id and
    duration: exports round their times differently, and a retry bears the same id)."""
    import numpy as np

    if len(logs) < 2:
        return logs[0] if logs else None
    shifts = np.cumsum([0, *(int(log.environment.max(initial=-1)) + 1 for log in logs[:-1])])
    environment = np.concatenate(
        [np.where(log.environment < 0, -1, log.environment + shift) for log, shift in zip(logs, shifts, strict=True)]
    )
    columns = {name: np.concatenate([getattr(log, name) for log in logs]) for name in (*_COLUMNS, "status")}
    columns["environment"] = environment.astype(np.int32)
    ids: list[str] | None = []
    for log in logs:
        ids = None if ids is None or log.request_ids is None else [*ids, *log.request_ids]
    order = np.argsort(columns["at_ms"], kind="stable")
    if ids is not None:
        keep = _first_of_each(columns["duration_ms"], ids, order)
        ids = [ids[index] for index in keep]
        order = np.array(keep, dtype=np.int64)
    ordered: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    return ServerLog(
        **ordered,
        request_ids=ids,
        init_reports=sum(log.init_reports for log in logs),
        bad_rows=sum(log.bad_rows for log in logs),
        untimed=sum(log.untimed for log in logs),
        events=next((log.events for log in logs if log.events), []),
    )


def _first_of_each(duration_ms: Floats, ids: list[str], order: Any) -> list[int]:
    seen: set[tuple[float, str]] = set()
    keep = []
    for index in order.tolist():
        key = (float(duration_ms[index]), ids[index])
        if not ids[index] or key not in seen:
            seen.add(key)
            keep.append(index)
    return keep
