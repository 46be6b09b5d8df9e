"""What the platform writes into a function's log, in the function's log format.

Text lines are `loglines`'; JSON ones follow the events of AWS's Telemetry API ("Lambda JSON log format",
"Using system log level filtering"): what a level filters out is not written. A method answers "" for
nothing to write.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from preheat.kernel import loglines


class PlatformLog(Protocol):
    def init_start(self, runtime: tuple[str, str], init_type: str, now_ms: int) -> str: ...

    def init_failed(self, init_ms: float, phase: str, status: str, error_type: str | None, now_ms: int) -> str: ...

    def restore_start(self, runtime: tuple[str, str], now_ms: int) -> str: ...

    def restored(self, restore_ms: float, status: str, error_type: str | None, now_ms: int) -> str: ...

    def start(self, request_id: str, version: str, now_ms: int) -> str: ...

    def lost(self, request_id: str, reason: str, error_type: str, now_ms: int) -> str:
        """The runtime exited, or was killed for its memory."""

    def timed_out(self, request_id: str, limit_s: float, now_ms: int) -> str: ...

    def end(self, request_id: str, status: str, error_type: str | None, duration_ms: float, now_ms: int) -> str: ...

    def report(self, report: Report, now_ms: int) -> str: ...

    def extension(self, name: str, state: str, events: list[str], error_type: str | None, now_ms: int) -> str: ...

    def subscribed(self, name: str, types: list[str], now_ms: int) -> str:
        """An extension subscribed to the Telemetry API."""


class Report:
    """The figures of a REPORT. `status` is "" for success, else "timeout" or "error"."""

    __slots__ = (
        "billed_ms", "duration_ms", "error_type", "init_ms", "max_memory_mb", "memory_mb", "request_id", "restore",
        "status",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str,
        duration_ms: float,
        billed_ms: int,
        memory_mb: int,
        max_memory_mb: int,
        init_ms: float | None,
        restore: tuple[float, int] | None,
        status: str,
        error_type: str | None,
    ) -> None:
        self.request_id = request_id
        self.duration_ms = duration_ms
        self.billed_ms = billed_ms
        self.memory_mb = memory_mb
        self.max_memory_mb = max_memory_mb
        self.init_ms = init_ms
        self.restore = restore
        self.status = status
        self.error_type = error_type


class TextLog:
    def init_start(self, runtime: tuple[str, str], init_type: str, now_ms: int) -> str:
        return loglines.init_start(*runtime)

    def init_failed(self, init_ms: float, phase: str, status: str, error_type: str | None, now_ms: int) -> str:
        return loglines.init_report(init_ms, phase, status, error_type)

    def restore_start(self, runtime: tuple[str, str], now_ms: int) -> str:
        return loglines.restore_start(*runtime)

    def restored(self, restore_ms: float, status: str, error_type: str | None, now_ms: int) -> str:
        return loglines.restore_report(restore_ms, status, error_type)

    def start(self, request_id: str, version: str, now_ms: int) -> str:
        return loglines.start(request_id, version)

    def lost(self, request_id: str, reason: str, error_type: str, now_ms: int) -> str:
        return f"RequestId: {request_id} Error: {reason}\n{error_type}\n"

    def timed_out(self, request_id: str, limit_s: float, now_ms: int) -> str:
        return loglines.timed_out(now_ms, request_id, limit_s)

    def end(self, request_id: str, status: str, error_type: str | None, duration_ms: float, now_ms: int) -> str:
        return loglines.end(request_id)

    def report(self, report: Report, now_ms: int) -> str:
        return loglines.report(
            report.request_id,
            report.duration_ms,
            report.billed_ms,
            report.memory_mb,
            report.max_memory_mb,
            report.init_ms,
            report.status,
            report.error_type,
            report.restore,
        )

    def extension(self, name: str, state: str, events: list[str], error_type: str | None, now_ms: int) -> str:
        return loglines.extension(name, state, events, error_type)

    def subscribed(self, name: str, types: list[str], now_ms: int) -> str:
        return loglines.subscribed(name, types)


_LEVELS = {"DEBUG": 0, "INFO": 1, "WARN": 2}


class JsonLog:
    """`level` is the function's SystemLogLevel: DEBUG, INFO or WARN."""

    def __init__(self, function: str, version: str, level: str = "INFO") -> None:
        self._function = {"functionName": function, "functionVersion": version}
        self._level = _LEVELS.get(level, 1)

    def init_start(self, runtime: tuple[str, str], init_type: str, now_ms: int) -> str:
        version, arn = runtime
        about = {"runtimeVersion": version, "runtimeVersionArn": arn, **self._function}
        return self._line("initStart", "INFO", {"initializationType": init_type, "phase": "init", **about}, now_ms)

    def init_failed(self, init_ms: float, phase: str, status: str, error_type: str | None, now_ms: int) -> str:
        record = {"phase": phase, "status": status, "metrics": {"durationMs": round(init_ms, 3)}}
        return self._line("initReport", "WARN", record | _typed(error_type), now_ms)

    def restore_start(self, runtime: tuple[str, str], now_ms: int) -> str:
        version, arn = runtime
        known = {"runtimeVersion": version, "runtimeVersionArn": arn} if version else {}
        return self._line("restoreStart", "INFO", {**known, **self._function}, now_ms)

    def restored(self, restore_ms: float, status: str, error_type: str | None, now_ms: int) -> str:
        record = {"status": status or "success", "metrics": {"durationMs": round(restore_ms, 3)}}
        return self._line("restoreReport", "WARN" if status else "INFO", record | _typed(error_type), now_ms)

    def start(self, request_id: str, version: str, now_ms: int) -> str:
        return self._line("start", "INFO", {"requestId": request_id, "version": version}, now_ms)

    def lost(self, request_id: str, reason: str, error_type: str, now_ms: int) -> str:
        return ""  # platform.report says it

    def timed_out(self, request_id: str, limit_s: float, now_ms: int) -> str:
        return ""

    def end(self, request_id: str, status: str, error_type: str | None, duration_ms: float, now_ms: int) -> str:
        record = {"requestId": request_id, "status": status or "success", "metrics": {"durationMs": duration_ms}}
        return self._line("runtimeDone", "WARN" if status else "DEBUG", record | _typed(error_type), now_ms)

    def report(self, report: Report, now_ms: int) -> str:
        metrics: dict[str, Any] = {
            "durationMs": report.duration_ms,
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.max_memory_mb,
        }
        if report.init_ms is not None:
            metrics["initDurationMs"] = report.init_ms
        if report.restore is not None:
            metrics["restoreDurationMs"], metrics["billedRestoreDurationMs"] = report.restore
        record = {"requestId": report.request_id, "metrics": metrics, "status": report.status or "success"}
        return self._line("report", "WARN" if report.status else "INFO", record | _typed(report.error_type), now_ms)

    def extension(self, name: str, state: str, events: list[str], error_type: str | None, now_ms: int) -> str:
        record: dict[str, Any] = {"name": name, "state": state, "events": events}
        return self._line("extension", "WARN" if error_type else "INFO", record | _typed(error_type), now_ms)

    def subscribed(self, name: str, types: list[str], now_ms: int) -> str:
        record = {"name": name, "state": "Subscribed", "types": types}
        return self._line("telemetrySubscription", "INFO", record, now_ms)

    def _line(self, kind: str, level: str, record: dict[str, Any], now_ms: int) -> str:
        if _LEVELS[level] < self._level:
            return ""
        event = {"time": loglines.iso_ms(now_ms), "type": f"platform.{kind}", "record": record}
        return json.dumps(event, separators=(",", ":")) + "\n"


def _typed(error_type: str | None) -> dict[str, str]:
    return {"errorType": error_type} if error_type else {}
