"""Lambda's own log lines, text or JSON, as records. A line is Lambda's only if it begins with the word: a handler that
prints one in the middle of its own text fools nobody."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from preheat.analysis.inputs.text import epoch_ms
from preheat.analysis.server_log import ERROR, OK, TIMEOUT, InitReport, Report, ServerLog, build

_REPORT = re.compile(
    r"REPORT RequestId: (\S+)\s+Duration: ([\d.]+) ms\s+Billed Duration: ([\d.]+) ms\s+Memory Size: (\d+) MB"
    r"(?:\s+Max Memory Used: (\d+) MB)?(.*)",
    re.DOTALL,
)
_INIT = re.compile(r"INIT_REPORT Init Duration: ([\d.]+) ms(?:\s+Phase: (\w+))?(?:\s+Status: (\w+))?")
_MORE = re.compile(r"(Init Duration|(?<!Billed )Restore Duration): ([\d.]+) ms")
_STATUS = re.compile(r"\bStatus: (\w+)")
NAN = math.nan
_STATUSES = {"timeout": TIMEOUT, "success": OK, "": OK}


@dataclass(frozen=True, slots=True)
class Event:
    """One log event; `at_ms` nan where the line has no time, `stream` "" where it is not known."""

    at_ms: float
    message: str
    stream: str = ""


def read_events(events: Iterable[Event], bad_rows: int = 0) -> ServerLog:
    """The invocations in the events, in whatever order they stand."""
    kept = list(events)
    untimed = sum(event.at_ms != event.at_ms and event.message.startswith("REPORT ") for event in kept)  # nan
    if untimed:
        kept = _with_times(kept)
    if len(kept) > 1 and kept[0].at_ms > kept[-1].at_ms:
        kept.reverse()  # newest first: of events of the same millisecond, the later one stands first too
    kept.sort(key=lambda event: event.at_ms)
    reports: list[Report] = []
    inits: list[InitReport] = []
    for event in kept:
        message = event.message.lstrip("\ufeff \t")
        if message.startswith("REPORT "):
            report = parse_report(message, event.at_ms, event.stream)
            if report is None:
                bad_rows += 1
            else:
                reports.append(report)
        elif message.startswith("INIT_REPORT "):
            inits += _init_lines(message, event)
        elif message.startswith("{") and '"platform.' in message:
            _platform(message, event, reports, inits)
    log = build(reports, inits, bad_rows)
    log.events = _one_invocation(kept, log)
    log.untimed, log.rows = untimed, len(kept)
    return log


def _with_times(events: list[Event]) -> list[Event]:
    """Lines without a time get that of the line before them, or of the first that has one, or 0 where none has."""
    last = next((event.at_ms for event in events if not math.isnan(event.at_ms)), 0.0)
    filled = []
    for event in events:
        last = last if math.isnan(event.at_ms) else event.at_ms
        filled.append(replace(event, at_ms=last))
    return filled


def parse_report(message: str, at_ms: float = NAN, stream: str = "") -> Report | None:
    """A REPORT line (FIDELITY: log lines); fields behind Max Memory Used may come in any order or not at all."""
    found = _REPORT.match(message)
    if found is None:
        return None
    request_id, duration, billed, memory, used, rest = found.groups()
    try:
        more = {name: float(value) for name, value in _MORE.findall(rest)}
        status = _STATUS.search(rest)
        return Report(
            at_ms=at_ms,
            request_id=request_id,
            duration_ms=float(duration),
            billed_ms=float(billed),
            memory_mb=float(memory),
            max_memory_mb=float(used) if used else NAN,
            init_ms=more.get("Init Duration", NAN),
            restore_ms=more.get("Restore Duration", NAN),
            status=_STATUSES.get(status[1] if status else "", ERROR),
            stream=stream,
        )
    except ValueError:
        return None


def _init_lines(message: str, event: Event) -> list[InitReport]:
    found = _INIT.match(message)
    if found is None:
        return []
    return [InitReport(event.at_ms, float(found[1]), found[2] or "", found[3] or "", event.stream)]


def _platform(message: str, event: Event, reports: list[Report], inits: list[InitReport]) -> None:
    """JSON log format and the Telemetry API: `platform.report`, `platform.initReport`."""
    try:
        data = json.loads(message)
    except ValueError:
        return
    record = data.get("record")
    if not isinstance(record, dict):
        return
    metrics = record.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    at_ms = event.at_ms
    if math.isnan(at_ms):
        at_ms = epoch_ms(str(data.get("time", ""))) or NAN
    if data.get("type") == "platform.report":
        reports.append(
            Report(
                at_ms=at_ms,
                request_id=str(record.get("requestId", "")),
                duration_ms=_figure(metrics, "durationMs"),
                billed_ms=_figure(metrics, "billedDurationMs"),
                memory_mb=_figure(metrics, "memorySizeMB"),
                max_memory_mb=_figure(metrics, "maxMemoryUsedMB"),
                init_ms=_figure(metrics, "initDurationMs"),
                restore_ms=_figure(metrics, "restoreDurationMs"),
                status=_STATUSES.get(str(record.get("status", "")), ERROR),
                stream=event.stream,
            )
        )
    elif data.get("type") == "platform.initReport" and not _is_plain_init(record):
        init_ms = _figure(metrics, "durationMs")
        inits.append(
            InitReport(at_ms, init_ms, str(record.get("phase", "")), str(record.get("status", "")), event.stream)
        )


def _is_plain_init(record: Mapping[str, Any]) -> bool:
    """JSON logs report every initialisation; those that went well before the invocation stand in its report too."""
    return record.get("phase") == "init" and record.get("status") in ("success", None)


def _figure(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else NAN


def _one_invocation(events: list[Event], log: ServerLog) -> list[str]:
    """The events of the first cold invocation (else of the first one) that has all of START, END and REPORT."""
    if not len(log) or log.request_ids is None:
        return []
    cold = [rid for rid, is_cold in zip(log.request_ids, log.is_cold.tolist(), strict=True) if is_cold]
    for request_id in [*cold[:3], *log.request_ids[:3]]:
        chosen = [event.message.rstrip() for event in events if request_id and request_id in event.message]
        if len(chosen) >= 2:
            return chosen[:20]
    return []
