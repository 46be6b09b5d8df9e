"""One execution environment: its runtime, its one request at a time, its moves through the life cycle."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from preheat.execution import payloads
from preheat.execution.channel import Channel, Ready, Transport, Work
from preheat.execution.journal import Journal
from preheat.execution.logstream import LogStream, epoch_ms
from preheat.execution.recorder import Recorder, Serving
from preheat.execution.snapshots import Snapshot
from preheat.execution.variables import runtime_variables
from preheat.kernel import loglines
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult, LogSink
from preheat.kernel.lifecycle import Move, State, move
from preheat.sandbox.protocol import Launch, SandboxFactory
from preheat.sandbox.template import TemplateError

INIT_LIMIT_S = 10.0
"""After this long the INIT phase is given up and repeated inside the first invoke (AWS, "Init phase")."""


_MB_PER_CPU = 1769
"""CPU follows memory: 1,769 MB is one vCPU (AWS, "Configure Lambda function memory")."""


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


class Owner(Protocol):
    """Who is told what became of an environment (the pool)."""

    def on_initialised(self, environment: Environment) -> None:
        """INIT is over, well or badly; the environment may be reserved."""

    def linger_us(self) -> int:
        """How long it pays to poll for what a request brings, and for the next one; 0 not at all."""

    def on_free(self, environment: Environment) -> None:
        """A request is done; the environment may be reserved again."""


class Environment:
    """Every method is one move of `kernel.lifecycle`, or the news that leads to one.

    A launch has a number; what is heard of an earlier launch (a late exit) is nobody's news any more.
    """

    def __init__(
        self, identity: str, function: FunctionVersion, services: Services, owner: Owner, init_type: str
    ) -> None:
        self.identity = identity
        self.function = function
        self.init_type = init_type
        self.state = State.NEW
        self.served = 0
        self.idle_since_ns = 0
        self.frozen = False
        self.own_tmp: bool | None = None
        self._services = services
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._sandbox = services.sandboxes.create(identity)
        stream = loglines.stream_name(epoch_ms(), function.version, identity)
        self._log = LogStream(services.logs, function.log_group, stream)
        self._recorder = Recorder(identity, function, self._log, services.journal, init_type)
        self._channel: Channel | None = None
        self._launch_number = 0
        self._launched_ns = 0
        self._limit: asyncio.TimerHandle | None = None
        self._serving: Serving | None = None
        self._init_ms: float | None = None
        self._restore: tuple[float, int] | None = None
        self._init_error = b""

    def start(self) -> None:
        """Begin the INIT phase, or the RESTORE phase in its place."""
        self.state = move(self.state, Move.START)
        self._recorder.started(self._services.sandboxes.name)
        self._launch()

    def invoke(self, invocation: Invocation, deliver: Callable[[InvokeResult], None]) -> None:
        """Serve one request; `deliver` is called exactly once, whatever happens to the runtime."""
        self.state = move(self.state, Move.RESERVE)
        cold = self.served == 0
        init_ms, restore = (self._init_ms, self._restore) if cold else (None, None)
        self._serving = serving = Serving(invocation, deliver, cold, init_ms, restore)
        self.served += 1
        self._recorder.invoke_started(serving)
        self._limit = self._loop.call_later(self.function.timeout_s, self._invoke_timed_out)
        if self.state is State.REINIT:
            self._launch()
        else:
            self._hand_over(serving)

    def freeze(self) -> None:
        """Between invokes nothing of an environment runs: threads and child processes stand still."""
        if self.state is State.READY and not self.frozen:
            self.frozen = True
            self._sandbox.freeze()

    def stop(self, reason: str) -> None:
        """SHUTDOWN: nothing of this environment is left. A request inside is answered as a killed runtime's.
        No harm in calling it twice."""
        if self.state is State.STOPPED:
            return
        serving = self._serving
        self.state = move(self.state, Move.STOP)
        self._end_runtime()
        if serving is not None:
            self._answer(
                payloads.exit_error(serving.invocation.request_id, -9), "error", "Runtime.ExitError", free=False
            )
        self._sandbox.destroy()
        self._recorder.stopped(reason, self.served)

    # the runtime's process

    def _launch(self) -> None:
        self._launch_number += 1
        self._launched_ns = time.monotonic_ns()
        self._init_error = b""
        self._sandbox.limit_cpu(None)  # init is not throttled, a repeated one neither
        self._loop.create_task(self._open_and_launch(self._launch_number))

    async def _open_and_launch(self, number: int) -> None:
        try:
            if self._services.snapshot is not None:
                await self._services.snapshot.ready()
                self._launched_ns = time.monotonic_ns()
            channel = await self._services.transport.open(self)
            if number != self._launch_number or self.state not in (State.INIT, State.REINIT):
                channel.close()
                return
            self._channel = channel
            self._start_process(number, channel)
        except TemplateError as error:
            self._init_error = error.body
            self._exited(number, 1)
        except Exception as error:  # a machine's refusal (no memory, no interpreter) is this launch's end
            self._init_error = payloads.error("Runtime.InvalidEntrypoint", str(error))
            self._log.add(f"{error}\n")
            self._exited(number, 1)

    def _start_process(self, number: int, channel: Channel) -> None:
        function = self.function
        variables = runtime_variables(function, self._log.name, self._services.endpoint_url, self.init_type)
        output = self._log.open_pipe()
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
            image=function.image,
        )
        if self._services.snapshot is None:
            self._launched_ns = time.monotonic_ns()
        if self.state is State.INIT:
            self._limit = self._loop.call_later(INIT_LIMIT_S, self._init_timed_out)
        try:
            self._sandbox.launch(launch, lambda code: self._exited(number, code))
        finally:
            channel.launched()
            self._log.close_writing(output)

    def _end_runtime(self) -> None:
        self._launch_number += 1
        self.frozen = False
        if self._limit is not None:
            self._limit.cancel()
        self._recorder.note_peak_mb(self._sandbox.peak_memory_mb())
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._sandbox.kill()
        self._log.close_pipe()

    def _exited(self, number: int, code: int) -> None:
        """The runtime has ended by itself, or the kernel ended it."""
        if number != self._launch_number:
            return
        if self._sandbox.refusal and not self._init_error:
            self._init_error = payloads.error("Runtime.InvalidEntrypoint", self._sandbox.refusal)
        oom = self._sandbox.out_of_memory()
        self._end_runtime()
        error_type = "Runtime.OutOfMemory" if oom else "Runtime.ExitError"
        init_error_type = payloads.error_type(self._init_error) or error_type
        if self.state is State.INIT:
            self._init_failed("error", init_error_type)
        elif self.state is State.READY:
            self.state = move(self.state, Move.EXIT)
        elif self._serving is not None:
            request_id = self._serving.invocation.request_id
            body = payloads.exit_error(request_id, code, error_type)
            if self.state is State.REINIT:
                self._recorder.init_report(self._since_launch_ms(), "invoke", "error", init_error_type)
            if self._init_error:
                body, error_type = self._init_error, init_error_type
            else:
                self._recorder.lost(request_id, payloads.exit_reason(code, error_type), error_type)
            self._lost(body, "error", error_type)

    # init

    def on_ready(self, ready: Ready) -> None:
        if self.state not in (State.INIT, State.REINIT):
            return
        now_ns = time.monotonic_ns()
        init_ms = (now_ns - self._launched_ns) / 1e6
        self.own_tmp = ready.own_tmp
        self._log.drain()
        if self._services.snapshot is not None:
            hooks_ms = None if ready.started_ns is None else (now_ns - ready.started_ns) / 1e6
            self._recorder.restored(init_ms, hooks_ms, self._sandbox.origin)
            self._restore = round(init_ms, 2), math.ceil(init_ms if hooks_ms is None else hooks_ms)
        else:
            self._recorder.init_done(init_ms, ready, self._launched_ns, now_ns)
            self._init_ms = round(init_ms, 2)
        self._sandbox.limit_cpu(self.function.memory_mb / _MB_PER_CPU)
        again = self.state is State.REINIT
        self.state = move(self.state, Move.INIT_OK)
        if again:
            assert self._serving is not None
            self._hand_over(self._serving)
            return
        assert self._limit is not None
        self._limit.cancel()
        self.idle_since_ns = now_ns
        self._owner.on_initialised(self)

    def on_init_error(self, body: bytes) -> None:
        self._init_error = body  # the runtime exits next: that is when INIT is over

    def _init_timed_out(self) -> None:
        if self.state is State.INIT:
            self._end_runtime()
            self._init_failed("timeout", None)

    def _init_failed(self, status: str, error_type: str | None) -> None:
        """Init will be repeated inside the first invoke, as on AWS."""
        self._recorder.init_report(self._since_launch_ms(), "init", status, error_type)
        self.state = move(self.state, Move.INIT_FAILED)
        self.idle_since_ns = time.monotonic_ns()
        self._owner.on_initialised(self)

    def _since_launch_ms(self) -> float:
        return (time.monotonic_ns() - self._launched_ns) / 1e6

    # invoke

    def _hand_over(self, serving: Serving) -> None:
        assert self._channel is not None
        if self.frozen:
            self.frozen = False
            self._sandbox.thaw()
        invocation, function = serving.invocation, self.function
        spent_ms = (time.monotonic_ns() - serving.started_ns) // 1_000_000  # by a repeated init
        poll_us = self._owner.linger_us()
        work = Work(
            invocation.request_id,
            invocation.invoked_arn or function.arn,
            epoch_ms() + function.timeout_s * 1000 - spent_ms,
            invocation.trace_id,
            invocation.client_context,
            invocation.payload,
            poll_us,
            # a runtime with less than a core would be throttled for it
            poll_us if function.memory_mb >= _MB_PER_CPU else 0,
        )
        self._channel.send(work)

    def on_response(self, body: bytes, peak_kib: int) -> None:
        self._note_peak(peak_kib)
        if len(body) <= payloads.MAX_RESPONSE_BYTES:
            self._answered(body, None)
        elif self.state is State.INVOKE:
            # AWS's client takes the refusal (413) as fatal and exits: so the environment is reset
            self._end_runtime()
            self._lost(payloads.response_too_large(), "error", "Function.ResponseSizeTooLarge")

    def on_error(self, body: bytes, peak_kib: int) -> None:
        self._note_peak(peak_kib)
        self._answered(body, payloads.error_type(body) or "Unhandled")

    def _note_peak(self, peak_kib: int) -> None:
        self._recorder.note_peak_mb(-(-peak_kib // 1024) if peak_kib else self._sandbox.peak_memory_mb())

    def _answered(self, body: bytes, error_type: str | None) -> None:
        """The handler returned or raised: the environment is kept."""
        if self.state is not State.INVOKE:
            return
        assert self._limit is not None
        self._limit.cancel()
        self._log.drain()
        self.state = move(self.state, Move.FINISH)
        self._answer(body, "error" if error_type else "ok", error_type, free=True)

    def _invoke_timed_out(self) -> None:
        serving = self._serving
        if serving is None:
            return
        self._end_runtime()
        request_id, limit_s = serving.invocation.request_id, self.function.timeout_s
        if self.state is State.REINIT:
            self._recorder.init_report(self._since_launch_ms(), "invoke", "timeout", None)
        self._recorder.timed_out(request_id)
        self._lost(payloads.timed_out(request_id, limit_s), "timeout", "Sandbox.Timedout")

    def _lost(self, body: bytes, status: str, error_type: str) -> None:
        """The runtime has gone: init will be repeated inside the next invoke."""
        self.state = move(self.state, Move.FAIL)
        self._answer(body, status, error_type, free=True)

    def _answer(self, body: bytes, status: str, error_type: str | None, free: bool) -> None:
        """Log and record first, then answer: whoever has the answer finds the log written.

        The environment is freed before either: the next request does not wait for our bookkeeping.
        """
        serving = self._serving
        assert serving is not None
        self._serving = None
        kept = self.state is State.READY
        done = self._recorder.invoke_done(serving, status, error_type, kept)
        function_error = "Unhandled" if error_type else None
        request_id = serving.invocation.request_id
        result = InvokeResult(body, function_error, self.function.version, request_id, self._log.tail())
        self.idle_since_ns = done.finished_ns
        if free:
            self._owner.on_free(self)
        self._recorder.write(done)
        serving.deliver(result)
