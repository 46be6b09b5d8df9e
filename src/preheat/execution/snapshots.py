"""The snapshot of one function version: taken once, taken again should its template die."""

from __future__ import annotations

import asyncio
import time
import uuid

from preheat.execution import payloads
from preheat.execution.logstream import LogStream, epoch_ms
from preheat.execution.variables import SNAP_START, runtime_variables
from preheat.kernel import loglines
from preheat.kernel.function import FunctionVersion, LogSink
from preheat.sandbox.protocol import Launch
from preheat.sandbox.snapshot import SnapshotFactory

_INIT_LIMIT_S = 130.0
"""Init before a snapshot may take 130 s or the function's timeout, whichever is longer (SnapStart, limits)."""


class Snapshot:
    def __init__(self, function: FunctionVersion, factory: SnapshotFactory, logs: LogSink, endpoint_url: str) -> None:
        self.factory = factory
        self._function = function
        self._logs = logs
        self._endpoint_url = endpoint_url
        self._taking = asyncio.Lock()
        self._log: LogStream | None = None

    async def ready(self) -> None:
        """Return once environments can be forked. Raises TemplateError if init fails."""
        async with self._taking:
            if self.factory.died:
                await self._take()

    async def _take(self) -> None:
        """Run init in the template; its output, and what it should not have done, go to a log stream."""
        self._end_log()
        function = self._function
        name = loglines.stream_name(epoch_ms(), function.version, uuid.uuid4().hex)
        self._log = log = LogStream(self._logs, function.log_group, name)
        if function.image is None:  # an image function's log has no INIT_START (FIDELITY.md, "Log lines")
            log.add(loglines.init_start(*payloads.runtime_version(function)))
        output = log.open_pipe()
        variables = runtime_variables(function, name, self._endpoint_url, SNAP_START)
        launch = Launch(
            runtime=function.runtime,
            handler=function.handler,
            code_dir=function.code_dir,
            layer_dirs=function.layer_dirs,
            memory_mb=function.memory_mb,
            environ=variables,
            output_fd=output,
            image=function.image,
            tmp_mb=function.ephemeral_storage_mb,
        )
        began = time.monotonic()
        status, lines = "error", [""]
        try:
            lines = await self.factory.prepare(launch, max(_INIT_LIMIT_S, function.timeout_s))
            status = ""
        finally:
            log.close_writing(output)
            log.drain()
            init_ms = (time.monotonic() - began) * 1000
            if status:
                log.add(loglines.init_report(init_ms, "init", status))
            else:
                log.add(f"INIT_REPORT Init Duration: {init_ms:.2f} ms\n")
                for line in lines:
                    log.add(f"[WARNING] snapshot of {function.name}:{function.version}: {line}\n")
            log.flush()

    def close(self) -> None:
        self.factory.close()
        self._end_log()

    def _end_log(self) -> None:
        """The pipe stays open for as long as the template lives: what it or a spare writes later is not lost."""
        if self._log is not None:
            self._log.close_pipe()
            self._log.flush()
            self._log = None
