"""Locust's `--logfile`: the responses that a locustfile logs, and when users were started.

The lines are those of the assignment's locustfile (three logging calls for each response), in Locust's format
`[2024-10-24 18:20:31,500] host/INFO/root: Response time: 1085.50 ms`. Other lines, and the further lines of a
response text, stand between them. The times are the client's local ones and name no zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from preheat.analysis.requests_csv import ClientRequest

_LINE = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{1,6})\] (.*?)/[A-Z]+/[\w.]+: ?(.*)$", re.MULTILINE)
_TIME = re.compile(r"^Response time: *([0-9.]+(?:[eE][+-]?\d+)?) *(s(?:ec(?:ond)?s?)?\b)?", re.IGNORECASE)
_STATUS = re.compile(r"^Response status(?: code)?: *(\d+|None)", re.IGNORECASE)
_TEXT = re.compile(r"^Response text: ?(.*)$", re.IGNORECASE)
_RAMP = re.compile(
    r"^(?:Ramping to|(?P<single>Spawning)|Sending spawn jobs of) (?P<users>\d+) users "
    r"(?:at a rate of|at the rate|at|and) (?P<per_s>[0-9.]+) (?:per second|users/s|spawn rate)"
)
"""What Locust 2 says alone, what 1.x says, and what the master of several workers says."""
_END = re.compile(r"^(?:--run-time limit reached|Shutting down|Got SIG)")


@dataclass(slots=True)
class Ramp:
    """Users started from `start_s` on, `per_s` each second until there are `users`. Locust 2 starts the users of a
    second together, at its beginning; Locust 1 spreads them (`spread`)."""

    start_s: float
    users: int
    per_s: float
    spread: bool = False


@dataclass(slots=True)
class LocustLog:
    """Requests in the order sent; times are local ones taken as UTC. `finished` counts runs that were ended in order;
    `incomplete` are responses whose status line is missing, `without_status` those of a log that has no status line at
    all, as some locustfiles log none: they are taken for successes. `clock_changes` counts the hours by which
    the local clock was put forward or back meanwhile; the times are those of the clock at the beginning."""

    requests: list[ClientRequest] = field(default_factory=list)
    ramps: list[Ramp] = field(default_factory=list)
    started: int = 0
    finished: int = 0
    incomplete: int = 0
    without_status: int = 0
    clock_changes: int = 0
    first_text: str = ""


@dataclass(slots=True)
class _Open:
    """A response of which the status line is still to come. Greenlets do not switch between the three calls, but
    lines of several processes may mix, so the status goes to the oldest response of the same source."""

    source: str
    end_s: float
    response_ms: float


def looks_like(text: str) -> bool:
    """Whether the text is a Locust log: one of its first lines is."""
    return _LINE.search(text[:20_000]) is not None


def parse(text: str) -> LocustLog:
    """Read the log; lines that are none of Locust's belong to the response text before them."""
    log = LocustLog()
    waiting: list[_Open] = []
    clock = _LocalClock()
    last, last_s = "", 0.0
    for found in _LINE.finditer(text):  # as many lines as a long run has are not held as a list
        at, source, message = found.groups()
        if at != last:
            last, last_s = at, _local_s(at)
        at_s = clock.even(last_s, is_new_run=message.startswith("Starting Locust"))
        if message.startswith(("R", "r", "S", "-", "G")):
            _read(log, waiting, at_s, source, message)
    log.clock_changes = clock.changes
    if waiting and not log.requests:
        log.without_status = len(waiting)
        log.requests = [_request(item, 200, "") for item in waiting]
    else:
        log.incomplete = len(waiting)
        log.requests += [_request(item, 0, "no status was logged") for item in waiting]
    log.requests.sort(key=lambda request: request.start_s)
    for index, request in enumerate(log.requests):
        log.requests[index] = _numbered(request, index)
    return log


class _LocalClock:
    """Undoes what daylight saving does to the times of a run: lines are written in the order of time, so a step of an
    hour between one and the next is the clock's. (Nothing at all being logged for just an hour is the other
    explanation of a step forward; users who wait for seconds do not do that.)"""

    HOUR_S, SLACK_S = 3600.0, 120.0

    def __init__(self) -> None:
        self.changes = 0
        self._last_s: float | None = None
        self._added_s = 0.0

    def even(self, at_s: float, *, is_new_run: bool) -> float:
        """The time of a line by the clock that the run began with."""
        if is_new_run:
            self._added_s = 0.0
        elif self._last_s is not None:
            step_s = at_s - self._last_s
            if abs(abs(step_s) - self.HOUR_S) < self.SLACK_S:
                self._added_s -= self.HOUR_S if step_s > 0 else -self.HOUR_S
                self.changes += 1
        self._last_s = at_s
        return at_s + self._added_s


def _read(log: LocustLog, waiting: list[_Open], at_s: float, source: str, message: str) -> None:
    if (time := _TIME.match(message)) is not None:
        response_ms = float(time[1]) * (1000 if time[2] else 1)
        waiting.append(_Open(source, at_s, response_ms))
    elif (status := _STATUS.match(message)) is not None:
        item = next((item for item in waiting if item.source == source), None)
        if item is not None:
            waiting.remove(item)
            code = 0 if status[1] == "None" else int(status[1])
            log.requests.append(_request(item, code, "" if 200 <= code < 400 else f"HTTP {code}"))
    elif (body := _TEXT.match(message)) is not None:
        log.first_text = log.first_text or body[1][:2000]
    elif (ramp := _RAMP.match(message)) is not None:
        log.ramps.append(Ramp(at_s, int(ramp["users"]), float(ramp["per_s"]), spread=ramp["single"] is not None))
    elif message.startswith("Starting Locust"):
        log.started += 1
    elif _END.match(message) and log.finished < max(log.started, 1):
        log.finished += message.startswith("Shutting down")


def _request(item: _Open, status: int, error: str) -> ClientRequest:
    """The line is written when the answer has come, so the request was sent `response_ms` before."""
    return ClientRequest(0, item.end_s - item.response_ms / 1000, item.response_ms, status, error=error)


def _numbered(request: ClientRequest, index: int) -> ClientRequest:
    return ClientRequest(index, request.start_s, request.response_ms, request.status, error=request.error)


def _local_s(text: str) -> float:
    """Epoch seconds, as if the local time were UTC."""
    return datetime.fromisoformat(text.replace(",", ".")).replace(tzinfo=UTC).timestamp()
