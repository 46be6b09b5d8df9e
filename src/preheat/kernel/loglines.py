"""The platform's own log lines, to the character (../shared/FIDELITY.md, "Log lines")."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def billed_ms(duration_ms: float, init_ms: float | None) -> int:
    """ceil(Duration + Init): init is billed for every function since August 2025."""
    return math.ceil(round(duration_ms + (init_ms or 0.0), 2))


def start(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}\n"


def end(request_id: str) -> str:
    return f"END RequestId: {request_id}\n"


def report(
    request_id: str,
    duration_ms: float,
    billed: int,
    memory_mb: int,
    max_memory_mb: int,
    init_ms: float | None = None,
    status: str = "",
    error_type: str | None = None,
    restore: tuple[float, int] | None = None,
) -> str:
    """One REPORT line; `status` is "" for success, else "timeout" or "error"; `restore` the Restore
    Duration and what of it is billed, both in ms."""
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {billed} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {max_memory_mb} MB\t"
    )
    if init_ms is not None:
        line += f"Init Duration: {init_ms:.2f} ms\t"
    if restore is not None:
        line += f"Restore Duration: {restore[0]:.2f} ms\tBilled Restore Duration: {restore[1]} ms\t"
    if not status:
        return line + "\n"
    line += f"Status: {status}"
    if error_type:
        line += f"\tError Type: {error_type}"
    return line + "\n"


def init_report(init_ms: float, phase: str, status: str, error_type: str | None = None) -> str:
    """`phase` is "init" or "invoke"; `status` "error" or "timeout"."""
    line = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\tStatus: {status}"
    return line + (f"\tError Type: {error_type}\n" if error_type else "\n")


def init_start(runtime_version: str, runtime_arn: str) -> str:
    return f"INIT_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_arn}\n"


def restore_start(runtime_version: str, runtime_arn: str) -> str:
    """Both are "" of an image function, whose runtime is its own (what AWS writes then is unverified)."""
    if not runtime_version:
        return "RESTORE_START\n"
    return f"RESTORE_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_arn}\n"


def restore_report(restore_ms: float, status: str = "", error_type: str | None = None) -> str:
    """`status` is "" for success, else "timeout" or "error"."""
    line = f"RESTORE_REPORT Restore Duration: {restore_ms:.2f} ms"
    line += f"\tStatus: {status}" if status else ""
    return line + (f"\tError Type: {error_type}\n" if error_type else "\n")


def extension(name: str, state: str, events: list[str], error_type: str | None = None) -> str:
    """What became of an extension at init (seen in public logs, e.g. OpenTelemetry's collector)."""
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(events)}]"
    return line + (f"\tError Type: {error_type}\n" if error_type else "\n")


def subscribed(name: str, types: list[str]) -> str:
    """After a subscription to the Telemetry API (as the Logs API's line, "LOGS Name: ..."; unverified)."""
    return f"TELEMETRY\tName: {name}\tState: Subscribed\tTypes: [{', '.join(kind.capitalize() for kind in types)}]\n"


def timed_out(epoch_ms: int, request_id: str, limit_s: float) -> str:
    return f"{iso_ms(epoch_ms)} {request_id} Task timed out after {limit_s:.2f} seconds\n\n"


def iso_ms(epoch_ms: int) -> str:
    """2026-01-31T12:00:00.123Z"""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_ms % 1000:03d}Z"


def stream_name(epoch_ms: int, version: str, environment: str) -> str:
    """YYYY/MM/DD/[<version>]<32 hex>"""
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y/%m/%d}/[{version}]{environment}"
