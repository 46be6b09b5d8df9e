"""What an environment leaves behind: its platform log lines and its journal records."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from preheat.execution import payloads
from preheat.execution.channel import Ready
from preheat.execution.extensions import ExtensionListener, Extensions
from preheat.execution.journal import Journal
from preheat.execution.kinds import external_extensions
from preheat.execution.logstream import LogStream, epoch_ms
from preheat.execution.variables import SNAP_START
from preheat.kernel import loglines
from preheat.kernel.events import EnvironmentStarted, EnvironmentStopped, InitDone, InvocationDone, Restored
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult, LogEvent
from preheat.kernel.platformlog import JsonLog, PlatformLog, Report, TextLog


@dataclass(slots=True)
class Serving:
    """A request inside an environment. `init_ms` is set where this request's REPORT shows Init Duration."""

    invocation: Invocation
    deliver: Callable[[InvokeResult], None]
    cold: bool
    init_ms: float | None
    restore: tuple[float, int] | None = None
    """Restore Duration and what of it is billed, in ms, where this request's REPORT shows them."""
    started_ns: int = 0
    answered: tuple[str | None] | None = None
    """Its outcome's error type, where it has been answered while extensions are still at work."""


@dataclass(slots=True)
class Done:
    """What an invocation leaves behind, not written yet."""

    events: list[LogEvent]
    record: InvocationDone
    finished_ns: int


_PLATFORM_STATUS = {"ok": "success", "error": "failure", "timeout": "timeout"}
"""Of platform.runtimeDone and platform.report, where the environment is lost (Telemetry API, "Status")."""


class Recorder:
    def __init__(
        self, identity: str, function: FunctionVersion, log: LogStream, journal: Journal, init_type: str
    ) -> None:
        self._identity = identity
        self._init_type = init_type
        self.lines: PlatformLog = (
            JsonLog(function.name, function.version, function.system_log_level)
            if function.log_format == "JSON"
            else TextLog()
        )
        self._origin = "init"
        self._function = function
        self._log = log
        self._journal = journal
        self._peak_mb = 0
        self._extensions: Extensions | None = None

    def extensions_of(self, listener: ExtensionListener, log: LogStream) -> Extensions:
        """Those of a new launch, who hear (Telemetry API) what is recorded from now on."""
        self._extensions = Extensions(self._function, external_extensions(self._function), listener, log)
        return self._extensions

    def note_peak_mb(self, peak_mb: int) -> None:
        if peak_mb > self._peak_mb:
            self._peak_mb = peak_mb

    def started(self, sandbox: str) -> None:
        function = self._function
        self._journal.write(
            EnvironmentStarted(
                at_ms=time.time() * 1000,
                environment=self._identity,
                function=function.name,
                version=function.version,
                revision_id=function.revision_id,
                sandbox=sandbox,
                init_type=self._init_type,
            )
        )
        of_image = function.image is not None  # AWS's runtime has a version, an image's own has not
        runtime, now_ms = ("", "") if of_image else payloads.runtime_version(function), epoch_ms()
        if self._init_type == SNAP_START:
            self._log.add(self.lines.restore_start(runtime, now_ms))
        elif not of_image:  # an image function's log has no INIT_START (FIDELITY.md, "Log lines")
            self._log.add(self.lines.init_start(runtime, self._init_type, now_ms))
        self._log.flush()

    def init_done(self, init_ms: float, ready: Ready, launched_ns: int, now_ns: int) -> None:
        self._log.flush()
        parts: list[float | None] = [None, None, None]
        if ready.started_ns is not None and ready.runtime_ready_ns is not None:
            marks = (launched_ns, ready.started_ns, ready.runtime_ready_ns, now_ns)
            parts = [round((after - before) / 1e6, 3) for before, after in itertools.pairwise(marks)]
        if self._extensions is not None:
            self._extensions.init_over(self.lines, init_ms, "ok", None)
        self._init(init_ms, "ok", None, *parts)

    def restored(self, restore_ms: float, hooks_ms: float | None, origin: str) -> None:
        self._origin = origin
        self._log.add(self.lines.restored(restore_ms, "", None, epoch_ms()))
        self._log.flush()
        function = self._function
        self._journal.write(
            Restored(
                at_ms=time.time() * 1000,
                environment=self._identity,
                function=function.name,
                version=function.version,
                restore_ms=round(restore_ms, 3),
                hooks_ms=None if hooks_ms is None else round(hooks_ms, 3),
                origin=origin,
            )
        )

    def lost(self, request_id: str, reason: str, error_type: str) -> None:
        self._log.add(self.lines.lost(request_id, reason, error_type, epoch_ms()))

    def timed_out(self, request_id: str) -> None:
        self._log.add(self.lines.timed_out(request_id, self._function.timeout_s, epoch_ms()))

    def init_report(self, init_ms: float, phase: str, status: str, error_type: str | None) -> None:
        """An init that failed; one that went well has no line of its own."""
        if self._init_type == SNAP_START:
            self._log.add(self.lines.restored(init_ms, status, error_type, epoch_ms()))
        else:
            self._log.add(self.lines.init_failed(init_ms, phase, status, error_type, epoch_ms()))
        self._log.flush()
        if self._extensions is not None:
            self._extensions.init_over(self.lines, init_ms, status, error_type)
        self._init(init_ms, status, error_type, None, None, None)

    def _init(
        self,
        init_ms: float,
        status: str,
        error_type: str | None,
        spawn_ms: float | None,
        runtime_ms: float | None,
        handler_ms: float | None,
    ) -> None:
        self._journal.write(
            InitDone(
                at_ms=time.time() * 1000,
                environment=self._identity,
                function=self._function.name,
                version=self._function.version,
                init_ms=round(init_ms, 3),
                status=status,
                error_type=error_type,
                spawn_ms=spawn_ms,
                runtime_ms=runtime_ms,
                handler_ms=handler_ms,
            )
        )

    def invoke_started(self, serving: Serving, ahead: bool = False) -> None:
        self._log.begin(self.lines.start(serving.invocation.request_id, self._function.version, epoch_ms()), ahead)
        serving.started_ns = time.monotonic_ns()

    def invoke_done(self, serving: Serving, status: str, error_type: str | None, kept: bool) -> Done:
        """END, REPORT and the journal's record, for `write`.

        `kept`: the environment survived. REPORT shows a Status only where it did not (FIDELITY.md).
        """
        invocation, function = serving.invocation, self._function
        now_ns = time.monotonic_ns()
        if status == "timeout":
            duration_ms = function.timeout_s * 1000.0  # AWS reports the limit itself
        else:
            duration_ms = round((now_ns - serving.started_ns) / 1e6, 2)
        billed = loglines.billed_ms(duration_ms, serving.init_ms)
        shown = "" if kept else status
        shown_error = error_type if shown == "error" else None
        now_ms = epoch_ms()
        self._log.add(self.lines.end(invocation.request_id, shown, shown_error, duration_ms, now_ms))
        report = Report(
            invocation.request_id,
            duration_ms,
            billed,
            function.memory_mb,
            self._peak_mb,
            serving.init_ms,
            serving.restore,
            shown,
            shown_error,
        )
        self._log.add(self.lines.report(report, now_ms))
        if self._extensions is not None:
            self._tell_extensions(self._extensions, serving, report, status, error_type, kept)
        record = InvocationDone(
            at_ms=time.time() * 1000 - (now_ns - invocation.received_ns) / 1e6,
            request_id=invocation.request_id,
            gateway_request_id=invocation.gateway_request_id,
            function=function.name,
            version=function.version,
            environment=self._identity,
            cold=serving.cold,
            received_ns=invocation.received_ns,
            started_ns=serving.started_ns,
            finished_ns=now_ns,
            wait_ms=(serving.started_ns - invocation.received_ns) / 1e6,
            init_ms=serving.init_ms,
            duration_ms=duration_ms,
            billed_ms=billed,
            memory_mb=function.memory_mb,
            max_memory_mb=self._peak_mb,
            status=status,
            error_type=error_type,
            log_group=function.log_group,
            log_stream=self._log.name,
            init_type=self._init_type,
            restore_ms=serving.restore[0] if serving.restore else None,
            origin=self._origin,
            qualifier=invocation.invoked_arn[len(function.arn) + 1 :] or None,
        )
        return Done(self._log.take(), record, now_ns)

    def runtime_done(self, serving: Serving | None, status: str, error_type: str | None, size: int) -> None:
        """The runtime has answered, or will not any more; `size` of the response in bytes."""
        if self._extensions is None or serving is None:
            return
        duration_ms = (time.monotonic_ns() - serving.started_ns) / 1e6
        stream = serving.invocation.stream
        size = stream.size if stream is not None and stream.began else size
        self._extensions.runtime_done(serving.invocation, status, error_type, duration_ms, size)

    def _tell_extensions(
        self, extensions: Extensions, serving: Serving, report: Report, status: str, error_type: str | None, kept: bool
    ) -> None:
        if not kept and serving.answered is None:
            self.runtime_done(serving, _PLATFORM_STATUS[status], error_type, 0)
        outcome = "error" if kept and status == "error" else _PLATFORM_STATUS[status]
        extensions.report(report, serving.invocation, outcome, error_type)

    def write(self, done: Done) -> None:
        """After this the invocation's log and record survive `kill -9`."""
        self._log.put(done.events)
        self._journal.write(done.record)

    def stopped(self, reason: str, served: int) -> None:
        self._log.flush()
        self._journal.write(
            EnvironmentStopped(
                at_ms=time.time() * 1000,
                environment=self._identity,
                function=self._function.name,
                reason=reason,
                served=served,
            )
        )
