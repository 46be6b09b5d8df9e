"""The runtime's processes in one environment: launched, frozen, ended, and launched again after a reset."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from preheat.execution import payloads
from preheat.execution.channel import Channel, RuntimeListener, Transport
from preheat.execution.extensions import Extensions
from preheat.execution.extensions_api import ExtensionsApi
from preheat.execution.journal import Journal
from preheat.execution.kinds import runs_as_process, with_extensions
from preheat.execution.logstream import LogStream
from preheat.execution.recorder import Recorder
from preheat.execution.runtime_api import RuntimeApi
from preheat.execution.snapshots import Snapshot
from preheat.execution.variables import runtime_variables
from preheat.kernel.function import FunctionVersion, LogSink
from preheat.sandbox.protocol import Companions, Launch, SandboxFactory
from preheat.sandbox.template import TemplateError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Services:
    """What environments share, handed down once."""

    sandboxes: SandboxFactory
    transport: Transport
    journal: Journal
    logs: LogSink
    endpoint_url: str
    snapshot: Snapshot | None = None
    """Where environments of a SnapStart version are restored from; `sandboxes` forks from it."""
    farewells: set[asyncio.Task[None]] = field(default_factory=set)
    """SHUTDOWN phases under way."""


class LaunchListener(RuntimeListener, Protocol):
    """Who is told of a launch (the environment)."""

    def on_launch(self) -> None:
        """The process is being started now: from here its init is measured."""

    def on_end(self, number: int, code: int, failure: bytes = b"") -> None:
        """Launch `number` has ended by itself, or must: with an exit status or minus a signal's number, and with an
        error payload where there is one to tell."""


class Runtime:
    """A launch has a number; what is heard of an earlier launch (a late exit) is nobody's news any more."""

    def __init__(
        self,
        function: FunctionVersion,
        services: Services,
        identity: str,
        log: LogStream,
        recorder: Recorder,
        listener: LaunchListener,
    ) -> None:
        self.number = 0
        self.launched_ns = 0
        self.frozen = False
        self.channel: Channel | None = None
        self.extensions: Extensions | None = None
        self.sandbox = services.sandboxes.create(identity)
        self._function = function
        self._services = services
        self._log = log
        self._recorder = recorder
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._farewell: asyncio.Task[None] | None = None

    def launch(self, init_type: str, phase: str) -> None:
        """Start it; `phase` is "init" or "invoke" (a repeated init)."""
        self.number += 1
        self.launched_ns = time.monotonic_ns()
        self.sandbox.limit_cpu(None)  # init is not throttled, a repeated one neither
        self._loop.create_task(self._open_and_launch(self.number, init_type, phase))

    def freeze(self) -> None:
        if not self.frozen:
            self.frozen = True
            self.sandbox.freeze()

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self.sandbox.thaw()

    def end(self, reason: str) -> None:
        """Kill it; where there are external extensions, after the SHUTDOWN phase, in which they hear the `reason`."""
        self.number += 1
        channel, self.channel = self.channel, None
        extensions, self.extensions = self.extensions, None
        if channel is not None and extensions is not None and extensions.external:
            self.thaw()
            self._log.drain()
            self._farewell = farewell = self._loop.create_task(self._shut_down(channel, extensions, reason))
            self._services.farewells.add(farewell)
            farewell.add_done_callback(self._services.farewells.discard)
            return
        self.frozen = False
        if extensions is not None:
            extensions.close()
        if channel is not None:
            channel.close()
        self.sandbox.kill()
        self._log.close_pipe()

    def after_farewell(self, then: Callable[[_T], None], about: _T) -> None:
        """Now, or when a SHUTDOWN phase that is under way is over."""
        if self._farewell is None or self._farewell.done():
            then(about)
        else:
            self._farewell.add_done_callback(lambda _: then(about))

    def destroy(self) -> None:
        """What is left of it, after `end`."""
        self.after_farewell(lambda sandbox: sandbox.destroy(), self.sandbox)

    async def _shut_down(self, channel: Channel, extensions: Extensions, reason: str) -> None:
        await extensions.shut_down(reason)
        channel.close()
        self.sandbox.kill()
        self._log.close_pipe()
        self._log.flush()

    async def _open_and_launch(self, number: int, init_type: str, phase: str) -> None:
        try:
            if self._farewell is not None:
                await self._farewell
            if self._services.snapshot is not None:
                await self._services.snapshot.ready()
                self.launched_ns = time.monotonic_ns()
            channel = await self._services.transport.open(self._listener)
            if number != self.number:
                channel.close()
                return
            self.channel = channel
            self._start_process(number, channel, init_type, phase)
        except TemplateError as error:
            self._listener.on_end(number, 1, error.body)
        except Exception as error:  # a machine's refusal (no memory, no interpreter) is this launch's end
            self._log.add(f"{error}\n")
            self._listener.on_end(number, 1, payloads.error("Runtime.InvalidEntrypoint", str(error)))

    def _start_process(self, number: int, channel: Channel, init_type: str, phase: str) -> None:
        function = self._function
        variables = runtime_variables(function, self._log.name, self._services.endpoint_url, init_type)
        companions = self._companions(number, channel, init_type, phase)
        image = function.image
        if image is not None and companions is None and self.extensions is not None and self.extensions.external:
            image = with_extensions(image)
        output = self._log.open_pipe(self.sandbox.output_pipe)
        launch = Launch(
            runtime=function.runtime,
            handler=function.handler,
            code_dir=function.code_dir,
            layer_dirs=function.layer_dirs,
            memory_mb=function.memory_mb,
            environ=variables | channel.environ(),
            output_fd=output,
            channel_fd=channel.child_fd(),
            network_fd=channel.network_fd(),
            image=image,
            tmp_mb=function.ephemeral_storage_mb,
            companions=companions,
        )
        if self._services.snapshot is None:
            self.launched_ns = time.monotonic_ns()
        self._listener.on_launch()
        try:
            self.sandbox.launch(launch, lambda code: self._listener.on_end(number, code))
        finally:
            channel.launched()
            self._log.close_writing(output)
            if self.extensions is not None:
                self.extensions.launched()

    def _companions(self, number: int, channel: Channel, init_type: str, phase: str) -> Companions | None:
        """Let extensions speak over a channel that is HTTP; what is to be started beside the runtime."""
        if not isinstance(channel, RuntimeApi):
            return None
        self.extensions = self._recorder.extensions_of(_News(self._listener, number), self._log)
        in_reach = runs_as_process(self._function)
        channel.extensions_api = ExtensionsApi(self.extensions, self._recorder.lines, telemetry=in_reach)
        return self.extensions.starting(init_type, phase)


class _News:
    """What one launch's supervisor and extensions tell."""

    def __init__(self, listener: LaunchListener, number: int) -> None:
        self._listener = listener
        self._number = number

    def on_runtime_exit(self, code: int) -> None:
        self._listener.on_end(self._number, code)

    def on_extension_failed(self, error_type: str, why: str) -> None:
        self._listener.on_end(self._number, 1, payloads.error(error_type, why))
