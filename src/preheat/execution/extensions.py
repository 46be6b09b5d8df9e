"""The extensions of one launch: who they are, whether they are at work, how they start and how they end.

Sources: Lambda developer guide, "Using the Lambda Extensions API to create extensions" (phases, limits); messages and
states as AWS's emulator has them (RIE). `extensions_api` is what they speak.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

from preheat.execution.channel import Work
from preheat.execution.kinds import runs_as_process
from preheat.execution.logstream import LogStream, epoch_ms
from preheat.execution.supervisor import Supervisor
from preheat.execution.telemetry import Subscription, Telemetry
from preheat.kernel.function import FunctionVersion, Invocation, LogEvent
from preheat.kernel.platformlog import PlatformLog, Report
from preheat.kernel.runtimes import runtime_version
from preheat.sandbox.protocol import Companions

MAX_EXTENSIONS = 10
_SHUTDOWN_S = 2.0
"""The SHUTDOWN phase with external extensions, the runtime's share of it included."""
_RUNTIME_SHARE_S = {False: 0.3, True: 0.5}
"""... which is longer with internal extensions."""
_NOT_STARTED = 126

Event = dict[str, Any]


@dataclass(slots=True)
class Extension:
    """`state` as EXTENSION lines show it. `waiting` gets the next event; without it the extension is at work."""

    name: str
    external: bool
    state: str
    events: list[str] = field(default_factory=list)
    identity: str = ""
    error_type: str | None = None
    waiting: Callable[[Event], None] | None = None
    ended: bool = False


class ExtensionListener(Protocol):
    def on_runtime_exit(self, code: int) -> None:
        """Where a supervisor stands between the sandbox and the runtime."""

    def on_extension_failed(self, error_type: str, why: str) -> None: ...


class Extensions:
    """`paths`: external extensions. The runtime may register internal ones besides.

    Where a process of ours comes first in the environment it is their supervisor: it starts them before the runtime
    and tells how each ends. In a container the image's shell starts them, and nobody tells.
    """

    def __init__(
        self, function: FunctionVersion, paths: tuple[str, ...], listener: ExtensionListener, log: LogStream
    ) -> None:
        self.function = function
        self.telemetry = Telemetry(function.log_format == "JSON")
        self._announced = False
        self.closing: str | None = None
        """Why SHUTDOWN is under way (shutdownReason)."""
        self._paths = paths
        self._listener = listener
        self._log = log
        self._all = [Extension(PurePath(path).name, True, "Started") for path in paths]
        self._supervisor: Supervisor | None = None
        self._registering = True
        self._phase = {"initializationType": "on-demand", "phase": "init"}
        self._then: Callable[[], None] | None = None
        self._runtime_started = False
        self._runtime_ended = asyncio.Event()
        self._news = asyncio.Event()
        self._deadline_ms = 0
        log.tap = self._function_output

    # init

    def starting(self, init_type: str, phase: str) -> Companions | None:
        """The launch begins; what the sandbox has to start besides the runtime."""
        function = self.function
        self._phase = {"initializationType": init_type, "phase": phase}
        about: dict[str, Any] = {"functionName": function.name, "functionVersion": function.version}
        if function.runtime:
            version, arn = runtime_version(function.runtime, function.region)
            about |= {"runtimeVersion": version, "runtimeVersionArn": arn}
        self.telemetry.emit("initStart", {**self._phase, **about}, epoch_ms())
        if not self._paths or not runs_as_process(function):
            return None
        self._supervisor = Supervisor(self)
        return self._supervisor.companions(self._paths)

    def launched(self) -> None:
        if self._supervisor is not None:
            self._supervisor.launched()

    def runtime_ready(self, then: Callable[[], None]) -> None:
        """The runtime has asked for work: nobody may register any more. `then` once all extensions are ready."""
        self._registering = False
        self.telemetry.emit("initRuntimeDone", {**self._phase, "status": "success"}, epoch_ms())
        self.when_idle(then)

    def init_over(self, lines: PlatformLog, init_ms: float, status: str, error_type: str | None) -> None:
        """Init went well ("ok") or not: say what became of every extension."""
        now_ms = epoch_ms()
        failed = {} if status == "ok" else {"errorType": error_type or "Runtime.Unknown"}
        outcome = {"status": "success" if status == "ok" else status, **failed}
        if self._registering:
            self.telemetry.emit("initRuntimeDone", {**self._phase, **outcome}, now_ms)
        self.telemetry.emit(
            "initReport", {**self._phase, **outcome, "metrics": {"durationMs": round(init_ms, 3)}}, now_ms
        )
        for each in self._all:
            self._log.add(lines.extension(each.name, each.state, each.events, each.error_type, now_ms))
            record = {"name": each.name, "state": each.state, "events": each.events}
            self.telemetry.emit("extension", record | _typed(each.error_type), now_ms)
        self.telemetry.close_subscriptions()
        self._log.flush()

    # registration

    def find(self, identity: str) -> Extension | None:
        return next((each for each in self._all if each.identity == identity), None)

    def expected(self, name: str) -> Extension | None:
        """The external extension of this file name."""
        return next((each for each in self._all if each.external and each.name == name), None)

    def register(self, name: str, events: list[str]) -> Extension | str:
        """The extension with its new identity, or why it cannot be (an error type)."""
        extension = self.expected(name)
        if extension is None:
            if not self._registering:
                return "Extension.RegistrationClosed"
            if len(self._all) >= MAX_EXTENSIONS:
                return "Extension.TooManyExtensions"
            extension = Extension(name, False, "Started")
            if any(each.name == name for each in self._all):
                return "Extension.InvalidExtensionState"
            self._all.append(extension)
        elif extension.state != "Started":
            return "Extension.InvalidExtensionState"
        extension.state, extension.events, extension.identity = "Registered", events, str(uuid.uuid4())
        if self._supervisor is not None and all(each.state != "Started" for each in self._all):
            self._supervisor.start_runtime()
            self._runtime_started = True
        return extension

    def subscribe(self, extension: Extension, wish: Subscription, lines: PlatformLog) -> None:
        self.telemetry.subscribe(extension.name, wish)
        now_ms = epoch_ms()
        self._log.add(lines.subscribed(extension.name, list(wish.types), now_ms))
        record = {"name": extension.name, "state": "Subscribed", "types": list(wish.types)}
        self.telemetry.emit("telemetrySubscription", record, now_ms)

    def failed(self, extension: Extension, state: str, error_type: str) -> None:
        """It reported an error of its own (`state` InitError or ExitError): the environment is given up."""
        extension.state, extension.error_type = state, error_type
        asyncio.get_running_loop().call_soon(self._fail, f"Extension.{state}", error_type)

    # invoke

    @property
    def idle(self) -> bool:
        """All of them have asked for the next event."""
        return all(each.waiting is not None for each in self._all)

    def when_idle(self, then: Callable[[], None]) -> None:
        if self.idle:
            then()
        else:
            self._then = then

    def invoke(self, work: Work) -> None:
        function = self.function
        tracing = _tracing(work.trace_id)
        started = {"requestId": work.request_id, "version": function.version}
        self.telemetry.emit("start", started | tracing, epoch_ms())
        event: Event = {
            "eventType": "INVOKE",
            "deadlineMs": work.deadline_ms,
            "requestId": work.request_id,
            "invokedFunctionArn": work.arn,
            **tracing,
        }
        self._send("INVOKE", event)

    def runtime_done(
        self, invocation: Invocation, status: str, error_type: str | None, duration_ms: float, size: int
    ) -> None:
        metrics = {"durationMs": round(duration_ms, 3), "producedBytes": size}
        self._about(invocation, "runtimeDone", status, error_type, metrics)

    def report(self, report: Report, invocation: Invocation, status: str, error_type: str | None) -> None:
        metrics: dict[str, Any] = {
            "durationMs": report.duration_ms,
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.max_memory_mb,
        }
        if report.init_ms is not None:
            metrics["initDurationMs"] = report.init_ms
        self._about(invocation, "report", status, error_type, metrics)

    def _about(
        self, invocation: Invocation, event: str, status: str, error_type: str | None, metrics: dict[str, Any]
    ) -> None:
        record = {"requestId": invocation.request_id, "status": status, "metrics": metrics} | _typed(error_type)
        self.telemetry.emit(event, record | _tracing(invocation.trace_id), epoch_ms())

    def next(self, extension: Extension, deliver: Callable[[Event], None]) -> None:
        """It asks for the next event: done with the one before."""
        extension.state, extension.waiting = "Ready", deliver
        if self._announced:
            self._send("SHUTDOWN", self._shutdown_event())
        elif self.idle and self._then is not None:
            then, self._then = self._then, None
            then()

    def _send(self, kind: str, event: Event) -> None:
        for each in self._all:
            if kind in each.events and each.waiting is not None:
                deliver, each.waiting = each.waiting, None
                deliver(event)

    # ends

    def on_exit(self, name: str, code: int) -> None:
        if not name:
            self._runtime_ended.set()
            if self.closing is None:
                self._listener.on_runtime_exit(code)
            return
        extension = self.expected(name)
        if extension is None:
            return
        extension.ended = True
        self._news.set()
        if self.closing is None:
            launched = code != _NOT_STARTED or extension.state != "Started"
            error_type = "Extension.Crash" if launched else "Extension.LaunchError"
            extension.error_type = extension.error_type or error_type
            self._fail(error_type, _exit_words(code))

    def on_extension_output(self, events: list[LogEvent]) -> None:
        self._log.extend(events)
        self.telemetry.output("extension", events)

    def _function_output(self, events: list[LogEvent]) -> None:
        self.telemetry.output("function", events)

    def _fail(self, error_type: str, why: str) -> None:
        if self.closing is None:
            self._then = None
            self._listener.on_extension_failed(error_type, why)

    async def shut_down(self, reason: str) -> None:
        """The SHUTDOWN phase, within its limits: the runtime ends, then the extensions are told and may end by
        themselves. What still runs after it is the sandbox's to kill. `reason`: spindown, timeout or failure."""
        self.closing, self._then = reason, None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SHUTDOWN_S
        self._deadline_ms = epoch_ms() + int(_SHUTDOWN_S * 1000)
        if self._supervisor is not None and self._runtime_started:
            self._supervisor.terminate_runtime()
            internal = any(not each.external for each in self._all)
            await _within(self._runtime_ended.wait(), _RUNTIME_SHARE_S[internal])
            self._supervisor.kill_runtime()
        await _within(self.telemetry.flush(), deadline - loop.time())  # they may end as soon as they are told
        self._announced = True
        self._send("SHUTDOWN", self._shutdown_event())
        await _within(self._all_ended(), deadline - loop.time())
        self.close()

    def close(self) -> None:
        """Nothing is heard or told any more. No harm in calling it twice."""
        self.closing = self.closing or "spindown"
        self.telemetry.close()
        if self._supervisor is not None:
            self._supervisor.close()

    @property
    def external(self) -> bool:
        """Whether there is anybody for a SHUTDOWN phase."""
        return bool(self._paths)

    async def _all_ended(self) -> None:
        told = [each for each in self._all if each.external and "SHUTDOWN" in each.events and not each.error_type]
        while not all(each.ended for each in told):
            self._news.clear()
            await self._news.wait()

    def _shutdown_event(self) -> Event:
        return {"eventType": "SHUTDOWN", "deadlineMs": self._deadline_ms, "shutdownReason": self.closing}


async def _within(awaitable: Any, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(awaitable, max(0.0, limit_s))


def _exit_words(code: int) -> str:
    if code == 0:
        return "exit code 0"
    return f"exit status {code}" if code > 0 else f"signal: {-code}"


def _tracing(trace_id: str) -> dict[str, Any]:
    return {"tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id}} if trace_id else {}


def _typed(error_type: str | None) -> dict[str, str]:
    return {"errorType": error_type} if error_type else {}
