"""One execution environment: its runtime, its one request at a time, its moves through the life cycle."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from preheat.execution import payloads
from preheat.execution.channel import Ahead, Channel, Ready, Work
from preheat.execution.following import Following
from preheat.execution.logstream import LogStream, epoch_ms
from preheat.execution.recorder import Recorder, Serving
from preheat.execution.runtime import Runtime, Services
from preheat.kernel import loglines
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.lifecycle import Move, State, move
from preheat.kernel.stream import ResponseStream

INIT_LIMIT_S = 10.0
"""After this long the INIT phase is given up and repeated inside the first invoke (AWS, "Init phase")."""

_MB_PER_CPU = 1769
"""CPU follows memory: 1,769 MB is one vCPU (AWS, "Configure Lambda function memory")."""


class Owner(Protocol):
    """Who is told what became of an environment (the pool)."""

    def on_initialised(self, environment: Environment) -> None:
        """INIT is over, well or badly; the environment may be reserved."""

    def linger_us(self) -> int:
        """How long it pays to poll for what a request brings, and for the next one; 0 not at all."""

    def on_free(self, environment: Environment) -> None:
        """A request is done; the environment may be reserved again."""

    def on_next_begun(self, environment: Environment) -> None:
        """A request is done, and the one that was sent ahead has begun."""

    def on_returned(self, environment: Environment) -> None:
        """The request that was sent ahead will not begin here."""


class Environment:
    """Every method is one move of `kernel.lifecycle`, or the news that leads to one."""

    def __init__(
        self, identity: str, function: FunctionVersion, services: Services, owner: Owner, init_type: str
    ) -> None:
        self.identity = identity
        self.function = function
        self.init_type = init_type
        self.state = State.NEW
        self.served = 0
        self.idle_since_ns = 0
        self.own_tmp: bool | None = None
        self._services = services
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        stream = loglines.stream_name(epoch_ms(), function.version, identity)
        self._log = LogStream(services.logs, function.log_group, stream)
        self._recorder = Recorder(identity, function, self._log, services.journal, init_type)
        self._runtime = Runtime(function, services, identity, self._log, self._recorder, self)
        self._limit: asyncio.TimerHandle | None = None
        self._serving: Serving | None = None
        self._following = Following()
        self._init_ms: float | None = None
        self._restore: tuple[float, int] | None = None
        self._init_error = b""
        self._ending = 0

    @property
    def frozen(self) -> bool:
        return self._runtime.frozen

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
        serving = Serving(invocation, deliver, cold, init_ms, restore)
        self._begin(serving)
        if self.state is State.REINIT:
            self._launch()
        else:
            self._hand_over(serving)

    def send_ahead(self, invocation: Invocation, deliver: Callable[[InvokeResult], None]) -> bool:
        """Leave a request where the runtime finds it when it is done with the present one. False, and nothing is
        done, where that cannot be or gains nothing."""
        if self.state is not State.INVOKE or not self._following.allowed or self._runtime.channel is None:
            return False
        serving = Serving(invocation, deliver, False, None)
        return self._following.send(self._runtime.channel, serving, self._work(invocation, 0, 0))

    def take_back(self) -> bool:
        """Whether what was sent ahead is the caller's again: it has not begun, and will not begin here."""
        if not self._following or self._following.take_back() is not Ahead.TAKEN:
            return False
        self._following.end()
        return True

    def busy_ms(self) -> float:
        """How long the present request has been here."""
        return 0.0 if self._serving is None else (time.monotonic_ns() - self._serving.started_ns) / 1e6

    def _begin(self, serving: Serving, ahead: bool = False) -> None:
        self._serving = serving
        self.served += 1
        self._recorder.invoke_started(serving, ahead)
        self._limit = self._loop.call_later(self.function.timeout_s, self._invoke_timed_out)

    def freeze(self) -> None:
        """Between invokes nothing of an environment runs: threads and child processes stand still."""
        if self.state is State.READY:
            self._runtime.freeze()

    def stop(self, reason: str) -> None:
        """SHUTDOWN: nothing of this environment is left. A request inside is answered as a killed runtime's.
        No harm in calling it twice."""
        if self.state is State.STOPPED:
            return
        serving = self._serving
        self.state = move(self.state, Move.STOP)
        self._end_runtime("spindown")
        if serving is not None and serving.answered is not None:
            self._answer(b"", "error" if serving.answered[0] else "ok", serving.answered[0], free=False)
        elif serving is not None:
            self._answer(
                payloads.exit_error(serving.invocation.request_id, -9), "error", "Runtime.ExitError", free=False
            )
        self._runtime.destroy()
        self._recorder.stopped(reason, self.served)

    # the runtime's process

    def _launch(self) -> None:
        self._init_error = b""
        self._runtime.launch(self.init_type, "init" if self.state is State.INIT else "invoke")

    def on_launch(self) -> None:
        if self.state is State.INIT:
            self._limit = self._loop.call_later(INIT_LIMIT_S, self._init_timed_out)

    def _end_runtime(self, reason: str = "failure") -> None:
        """`reason` is what extensions are told."""
        if self._limit is not None:
            self._limit.cancel()
        if self._following:
            self._following.end()
            self._owner.on_returned(self)
        self._recorder.note_peak_mb(self._runtime.sandbox.peak_memory_mb())
        self._runtime.end(reason)

    def on_end(self, number: int, code: int, failure: bytes = b"") -> None:
        """The runtime has ended by itself, or the kernel ended it; or it must, for an extension's `failure`."""
        if number != self._runtime.number:
            return
        channel = self._runtime.channel
        if failure or channel is None or self.state is State.READY:
            self._ended(code, failure)
        else:
            self._ending = number
            self._loop.create_task(self._hear_out(channel, number, code))

    async def _hear_out(self, channel: Channel, number: int, code: int) -> None:
        """What the runtime wrote before its end may still be on its way: an answer, an init error, half a stream."""
        await channel.last_words()
        if number == self._runtime.number:
            self._ended(code)

    def _ended(self, code: int, failure: bytes = b"") -> None:
        self._init_error = failure or self._init_error
        sandbox = self._runtime.sandbox
        if sandbox.refusal and not self._init_error:
            self._init_error = payloads.error("Runtime.InvalidEntrypoint", sandbox.refusal)
        oom = sandbox.out_of_memory()
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
                body = payloads.with_request_id(self._init_error, request_id)
                error_type = init_error_type
            else:
                self._recorder.lost(request_id, payloads.exit_reason(code, error_type), error_type)
            self._lost(body, "error", error_type)

    # init

    def on_ready(self, ready: Ready) -> None:
        if self.state not in (State.INIT, State.REINIT):
            return
        if self._runtime.extensions is None:
            self._initialised(ready)
        else:
            self._runtime.extensions.runtime_ready(lambda: self._initialised(ready))

    def _initialised(self, ready: Ready) -> None:
        now_ns = time.monotonic_ns()
        init_ms = (now_ns - self._runtime.launched_ns) / 1e6
        self.own_tmp = ready.own_tmp
        self._log.drain()
        if self._services.snapshot is not None:
            hooks_ms = None if ready.started_ns is None else (now_ns - ready.started_ns) / 1e6
            self._recorder.restored(init_ms, hooks_ms, self._runtime.sandbox.origin)
            self._restore = round(init_ms, 2), math.ceil(init_ms if hooks_ms is None else hooks_ms)
        else:
            self._recorder.init_done(init_ms, ready, self._runtime.launched_ns, now_ns)
            self._init_ms = round(init_ms, 2)
        self._runtime.sandbox.limit_cpu(self.function.memory_mb / _MB_PER_CPU)
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
            self._end_runtime("timeout")
            self._init_failed("timeout", None)

    def _init_failed(self, status: str, error_type: str | None) -> None:
        """Init will be repeated inside the first invoke, as on AWS."""
        self._recorder.init_report(self._since_launch_ms(), "init", status, error_type)
        self.state = move(self.state, Move.INIT_FAILED)
        self.idle_since_ns = time.monotonic_ns()
        self._runtime.after_farewell(self._owner.on_initialised, self)

    def _since_launch_ms(self) -> float:
        return (time.monotonic_ns() - self._runtime.launched_ns) / 1e6

    # invoke

    def _hand_over(self, serving: Serving) -> None:
        runtime = self._runtime
        assert runtime.channel is not None
        if runtime.frozen:
            runtime.thaw()
        spent_ms = (time.monotonic_ns() - serving.started_ns) // 1_000_000  # by a repeated init
        work = self._work(serving.invocation, spent_ms, self._owner.linger_us())
        if runtime.extensions is not None:
            runtime.extensions.invoke(work)
        runtime.channel.send(work)

    def _work(self, invocation: Invocation, spent_ms: int, poll_us: int) -> Work:
        function = self.function
        return Work(
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

    def on_stream(self, content_type: str) -> ResponseStream | None:
        stream = self._serving.invocation.stream if self._serving is not None else None
        if stream is not None:
            stream.begin(content_type, self.function.version)
        return stream

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
        self._recorder.note_peak_mb(-(-peak_kib // 1024) if peak_kib else self._runtime.sandbox.peak_memory_mb())

    def _answered(self, body: bytes, error_type: str | None) -> None:
        """The handler returned or raised: the environment is kept."""
        if self.state is not State.INVOKE:
            return
        extensions = self._runtime.extensions
        if extensions is None:
            self._finished(body, error_type)
            return
        self._recorder.runtime_done(self._serving, "error" if error_type else "success", error_type, len(body))
        if not extensions.idle:
            self._deliver_early(body, error_type)
        extensions.when_idle(lambda: self._finished(body, error_type))

    def _deliver_early(self, body: bytes, error_type: str | None) -> None:
        """Whoever asked has the answer while extensions are still at work: END and REPORT are written after them."""
        serving = self._serving
        assert serving is not None
        self._log.drain()
        self._log.flush()
        serving.deliver(self._result(serving, body, error_type))
        serving.deliver = lambda _: None
        serving.answered = (error_type,)

    def _result(self, serving: Serving, body: bytes, error_type: str | None) -> InvokeResult:
        function_error = "Unhandled" if error_type else None
        request_id = serving.invocation.request_id
        return InvokeResult(body, function_error, self.function.version, request_id, self._log.tail())

    def _finished(self, body: bytes, error_type: str | None) -> None:
        if self.state is not State.INVOKE:
            return
        assert self._limit is not None
        self._limit.cancel()
        self._log.drain()
        over = self._has_ended()
        self.state = move(self.state, Move.FINISH)
        self._answer(body, "error" if error_type else "ok", error_type, free=not over)
        if over:
            self._end_runtime()
            self.state = move(self.state, Move.EXIT)
            self._runtime.after_farewell(self._owner.on_free, self)

    def _has_ended(self) -> bool:
        """Whether the answer was the runtime's last word. What was sent ahead of it, and not begun, is given back."""
        if self._ending != self._runtime.number:
            return False
        if self._following:
            if not self.take_back():
                return False
            self._owner.on_returned(self)
        return True

    def _invoke_timed_out(self) -> None:
        serving = self._serving
        if serving is None:
            return
        if self._following and self._following.take_back() is Ahead.BEGUN:
            return  # the answer is in the socket
        self._end_runtime("timeout")
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
        kept = self.state is State.READY or (self.state is State.STOPPED and serving.answered is not None)
        done = self._recorder.invoke_done(serving, status, error_type, kept)
        result = self._result(serving, body, error_type)
        self.idle_since_ns = done.finished_ns
        self._following.note(done.record.duration_ms)
        if self._following:
            self.state = move(self.state, Move.RESERVE)
            self._begin(self._following.end(), ahead=True)
            self._owner.on_next_begun(self)
        elif free:
            self._runtime.after_farewell(self._owner.on_free, self)
        self._recorder.write(done)
        serving.deliver(result)
