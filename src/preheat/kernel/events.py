"""One typed record per phase of an environment's and an invocation's life: what the journal keeps.

`at_ms` is epoch time in milliseconds; `*_ns` are the server's monotonic nanoseconds; ids are as AWS
writes them. A record's name in the journal (`type`) is in `RECORD_TYPES`.
"""

from __future__ import annotations

import msgspec


class EnvironmentStarted(msgspec.Struct, frozen=True):
    at_ms: float
    environment: str
    function: str
    version: str
    revision_id: str
    sandbox: str
    init_type: str


class InitDone(msgspec.Struct, frozen=True):
    """`init_ms` is the Init Duration: process start to the runtime's first request for work.

    Its parts: `spawn_ms` until the interpreter runs our first line, `runtime_ms` to import the runtime
    client, `handler_ms` to import the handler's module; None where the transport cannot tell.
    """

    at_ms: float
    environment: str
    function: str
    version: str
    init_ms: float
    status: str
    error_type: str | None = None
    spawn_ms: float | None = None
    runtime_ms: float | None = None
    handler_ms: float | None = None


class Restored(msgspec.Struct, frozen=True):
    """`restore_ms` is the Restore Duration: from wanting the environment to its first request for work.

    `hooks_ms` is the part from its orders on, after-restore hooks included: what AWS would bill.
    """

    at_ms: float
    environment: str
    function: str
    version: str
    restore_ms: float
    hooks_ms: float | None
    origin: str


class InvocationDone(msgspec.Struct, frozen=True):
    """`cold`: this environment's first request; `init_ms` then is its Init Duration as in REPORT.

    With SnapStart `restore_ms` stands in its place, and `origin` tells whether the environment was forked
    on demand ("fork") or ahead of it ("spare"). `qualifier` is the version or alias that was asked for.
    """

    at_ms: float
    request_id: str
    gateway_request_id: str | None
    function: str
    version: str
    environment: str
    cold: bool
    received_ns: int
    started_ns: int
    finished_ns: int
    wait_ms: float
    init_ms: float | None
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    status: str
    error_type: str | None
    log_group: str
    log_stream: str
    init_type: str = "on-demand"
    restore_ms: float | None = None
    origin: str = "init"
    qualifier: str | None = None


class Throttled(msgspec.Struct, frozen=True):
    at_ms: float
    request_id: str
    gateway_request_id: str | None
    function: str
    reason: str
    version: str = ""
    qualifier: str | None = None


class EnvironmentStopped(msgspec.Struct, frozen=True):
    at_ms: float
    environment: str
    function: str
    reason: str
    served: int


Record = EnvironmentStarted | InitDone | Restored | InvocationDone | Throttled | EnvironmentStopped

RECORD_TYPES: dict[type[Record], str] = {
    EnvironmentStarted: "environment_started",
    InitDone: "init_done",
    Restored: "restored",
    InvocationDone: "invocation",
    Throttled: "throttle",
    EnvironmentStopped: "environment_stopped",
}
