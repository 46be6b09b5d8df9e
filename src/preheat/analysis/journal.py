"""The local cloud's journal as values: one typed record per phase, one JSON object per line."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class EnvironmentStarted(msgspec.Struct, frozen=True, tag="environment_started"):
    at_ms: float
    environment: str
    function: str = ""
    version: str = ""
    sandbox: str = ""
    init_type: str = ""


class InitDone(msgspec.Struct, frozen=True, tag="init_done"):
    """`spawn_ms`, `runtime_ms` and `handler_ms` are parts of `init_ms`: process, runtime client, handler module."""

    at_ms: float
    environment: str
    init_ms: float
    status: str = "ok"
    error_type: str | None = None
    spawn_ms: float | None = None
    runtime_ms: float | None = None
    handler_ms: float | None = None


class Invocation(msgspec.Struct, frozen=True, tag="invocation"):
    """One request that an environment served. `wait_ms`: received until handed to the environment."""

    at_ms: float
    request_id: str
    environment: str
    cold: bool
    wait_ms: float
    duration_ms: float
    gateway_request_id: str | None = None
    function: str = ""
    version: str = ""
    init_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: float | None = None
    max_memory_mb: float | None = None
    status: str = "ok"
    error_type: str | None = None
    log_group: str | None = None
    log_stream: str | None = None


class Throttle(msgspec.Struct, frozen=True, tag="throttle"):
    at_ms: float
    request_id: str
    gateway_request_id: str | None = None
    function: str = ""
    reason: str = ""


class EnvironmentStopped(msgspec.Struct, frozen=True, tag="environment_stopped"):
    at_ms: float
    environment: str
    reason: str = ""
    served: int = 0


Record = EnvironmentStarted | InitDone | Invocation | Throttle | EnvironmentStopped


@dataclass(slots=True)
class Journal:
    """The records of a run by kind, in the order written. `bad_lines` could not be read."""

    started: list[EnvironmentStarted] = field(default_factory=list)
    inits: list[InitDone] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    throttles: list[Throttle] = field(default_factory=list)
    stopped: list[EnvironmentStopped] = field(default_factory=list)
    bad_lines: int = 0


_decoder = msgspec.json.Decoder(Record)
_KNOWN = {"environment_started", "init_done", "invocation", "throttle", "environment_stopped"}


def parse_journal(data: bytes) -> Journal:
    """Read every line that can be read; kinds we do not know are passed over: newer servers may write them."""
    journal = Journal()
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            _file(journal, _decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            journal.bad_lines += not _is_unknown_kind(line)
    return journal


def _file(journal: Journal, record: Record) -> None:
    match record:
        case EnvironmentStarted():
            journal.started.append(record)
        case InitDone():
            journal.inits.append(record)
        case Invocation():
            journal.invocations.append(record)
        case Throttle():
            journal.throttles.append(record)
        case EnvironmentStopped():
            journal.stopped.append(record)


def _is_unknown_kind(line: bytes) -> bool:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] not in _KNOWN
