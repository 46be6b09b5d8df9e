"""The invoker under any order of events: requests, inits, answers, crashes, updates, expiry.

Runtimes here are scripted: each rule is one thing that can happen, and after each the accounts must balance.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast
from unittest import mock

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from preheat.execution.channel import Ahead, Ready, RuntimeListener, Work
from preheat.execution.environment import Environment
from preheat.execution.invoker import PoolInvoker
from preheat.execution.journal import Journal
from preheat.execution.runtime import Services
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult, LogEvent
from preheat.kernel.lifecycle import State
from preheat.kernel.settings import Settings
from preheat.sandbox.protocol import Launch, OnExit

T = TypeVar("T")
CONCURRENCY = 6
INITS = 2
ENVIRONMENTS = 3


class Runtime:
    """One scripted runtime: its channel, its sandbox, what it has been given to do."""

    def __init__(self) -> None:
        self.listener: RuntimeListener | None = None
        self.on_exit: OnExit | None = None
        self.work: Work | None = None
        self.following: Work | None = None
        self.unheard = False  # it has answered and gone on, and nobody has heard the answer yet
        self.dead = False
        self.last_word: Callable[[], None] | None = None
        self.frozen = False
        self.origin = "init"
        self.refusal = ""
        self.output_pipe: str | None = ""

    # channel

    def child_fd(self) -> None:
        return None

    def network_fd(self) -> None:
        return None

    def environ(self) -> dict[str, str]:
        return {}

    def launched(self) -> None:
        pass

    def send(self, work: Work) -> None:
        assert not self.frozen, "a frozen environment was given work"
        assert self.work is None, "an environment was given two requests at once"
        assert not self.dead, "a runtime that has ended was given work"
        self.work = work

    def send_ahead(self, work: Work) -> Callable[[], Ahead]:
        assert self.work is not None, "an idle environment was sent work ahead"
        assert self.following is None, "an environment was sent two requests ahead"
        self.following = work
        return lambda: self.take_back(work)

    def take_back(self, work: Work) -> Ahead:
        if self.following is not work:
            assert self.work is work, "work that has left was taken back"
            return Ahead.BEGUN
        self.following = None
        return Ahead.TAKEN

    def go_on(self) -> None:
        """Done with the present request; the next one begins if it is there."""
        self.work, self.following = self.following, None

    async def last_words(self) -> None:
        await asyncio.sleep(0)
        last_word, self.last_word = self.last_word, None
        if last_word is not None:
            last_word()

    def close(self) -> None:
        self.listener = None
        self.work = self.following = None
        self.unheard = False

    # sandbox

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        self.on_exit = on_exit

    def kill(self) -> None:
        self.frozen = False

    def destroy(self) -> None:
        self.kill()

    def limit_cpu(self, share: float | None) -> None:
        pass

    def freeze(self) -> None:
        assert self.work is None, "an environment was frozen with a request inside"
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def peak_memory_mb(self) -> int:
        return 1

    def out_of_memory(self) -> bool:
        return False


class Script:
    """Factory and transport at once: a sandbox and the channels of its launches are one Runtime."""

    name = "scripted"

    def __init__(self) -> None:
        self.opened = 0

    def create(self, environment: str) -> Runtime:
        return Runtime()

    def limits(self) -> list[str]:
        return []

    def reap(self) -> int:
        return 0

    async def open(self, listener: RuntimeListener) -> Runtime:
        runtime = scripted(cast(Environment, listener))
        runtime.listener, runtime.dead, runtime.last_word = listener, False, None
        self.opened += 1
        return runtime


def scripted(environment: Environment) -> Runtime:
    return cast(Runtime, environment._runtime.sandbox)


class NoLogs:
    def create_stream(self, group: str, stream: str) -> None:
        pass

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        pass


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 10**12
        self.clock = mock.patch("time.monotonic_ns", self.monotonic_ns)
        self.clock.start()
        self.loop = asyncio.new_event_loop()
        self.loop.time = lambda: 0.0  # type: ignore[method-assign]  # no timer fires: that is for the rules to say
        self.directory = tempfile.TemporaryDirectory()
        self.script = Script()
        self.journal = Journal(Path(self.directory.name))
        self.revision = 0
        self.answers: list[asyncio.Future[InvokeResult]] = []
        self.accepted = self.refused = self.settled = 0
        self.loop.run_until_complete(self._build())

    def monotonic_ns(self) -> int:
        return self.now_ns

    async def _build(self) -> None:
        services = Services(self.script, self.script, self.journal, NoLogs(), "http://127.0.0.1:4566")
        limits = Settings(
            account_concurrency=CONCURRENCY, max_inits=INITS, max_environments=ENVIRONMENTS, keep_alive_s=3600
        )
        self.invoker = PoolInvoker(services, limits)
        self.function = self._next_revision()

    def _next_revision(self) -> FunctionVersion:
        self.revision += 1
        arn = "arn:aws:lambda:us-east-1:000000000000:function:fn"
        return FunctionVersion("fn", "$LATEST", arn, f"r{self.revision}", "python3.11", "a.b", "/", timeout_s=900)

    def inside(self, happening: Callable[[], T]) -> T:
        """Let it happen in the loop, then let the loop run what is ready: launches are tasks."""

        async def happens() -> T:
            result = happening()
            for _ in range(4):
                await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(happens())

    def environments(self, *states: State) -> list[Runtime]:
        found = [e for pool in self.invoker.pools for e in pool.environments.values() if e.state in states]
        runtimes = [scripted(environment) for environment in found]
        return [runtime for runtime in runtimes if runtime.listener is not None]

    @rule()
    def request(self) -> None:
        invocation = Invocation("id", b"{}", time.monotonic_ns())
        answer = self.inside(lambda: self.invoker.invoke(self.function, invocation))
        if answer.done() and isinstance(answer.exception(), AwsError):
            self.refused += 1
        else:
            self.accepted += 1
            self.answers.append(answer)

    @rule(count=st.integers(2, CONCURRENCY))
    def a_burst(self, count: int) -> None:
        for _ in range(count):
            self.request()

    @precondition(lambda self: self.environments(State.INVOKE))
    @rule(rounds=st.integers(1, 3))
    def every_handler_answers(self, rounds: int) -> None:
        for _ in range(rounds):
            for runtime in self.environments(State.INVOKE):
                self._answer(runtime, fails=False)

    @precondition(lambda self: self.environments(State.INIT, State.REINIT))
    @rule(data=st.data())
    def init_is_over(self, data: st.DataObject) -> None:
        runtime = data.draw(st.sampled_from(self.environments(State.INIT, State.REINIT)))
        listener = runtime.listener
        assert listener is not None
        self.inside(lambda: listener.on_ready(Ready()))

    @precondition(lambda self: self.environments(State.INVOKE))
    @rule(data=st.data(), fails=st.booleans())
    def the_handler_answers(self, data: st.DataObject, fails: bool) -> None:
        self._answer(data.draw(st.sampled_from(self.environments(State.INVOKE))), fails)

    def _answer(self, runtime: Runtime, fails: bool) -> None:
        listener = runtime.listener
        assert listener is not None
        if not runtime.unheard:
            runtime.go_on()
        runtime.unheard = False
        if fails:
            self.inside(lambda: listener.on_error(b'{"errorType":"ValueError"}', 100))
        else:
            self.inside(lambda: listener.on_response(b"1", 100))

    def with_following(self) -> list[Runtime]:
        return [runtime for runtime in self.environments(State.INVOKE) if runtime.following is not None]

    @precondition(lambda self: self.with_following())
    @rule(data=st.data())
    def a_runtime_goes_on_before_its_answer_is_heard(self, data: st.DataObject) -> None:
        runtime = data.draw(st.sampled_from(self.with_following()))
        if not runtime.unheard:
            runtime.go_on()
            runtime.unheard = True

    @rule()
    def requests_take_long(self) -> None:
        for pool in self.invoker.pools:
            self.now_ns += 10**9
            if pool._patience is not None:
                pool._patience.cancel()
                self.inside(pool._lose_patience)

    @precondition(lambda self: self.environments(State.INIT, State.REINIT, State.READY, State.INVOKE))
    @rule(data=st.data(), code=st.sampled_from([0, 1, -9]))
    def a_runtime_dies(self, data: st.DataObject, code: int) -> None:
        every = self.environments(State.INIT, State.REINIT, State.READY, State.INVOKE)
        runtime = data.draw(st.sampled_from(every))
        on_exit = runtime.on_exit
        assert on_exit is not None
        runtime.dead = True
        self.inside(lambda: on_exit(code))

    @precondition(lambda self: self.environments(State.INVOKE))
    @rule(data=st.data())
    def a_runtime_answers_and_dies_and_its_end_is_heard_first(self, data: st.DataObject) -> None:
        runtime = data.draw(st.sampled_from(self.environments(State.INVOKE)))
        listener, on_exit = runtime.listener, runtime.on_exit
        assert listener is not None
        assert on_exit is not None
        runtime.dead, runtime.unheard = True, False
        runtime.last_word = lambda: listener.on_response(b"the last word", 100)
        answered = sum(self._is_last_word(answer) for answer in self.answers)
        self.inside(lambda: on_exit(1))
        assert sum(self._is_last_word(answer) for answer in self.answers) == answered + 1

    def _is_last_word(self, answer: asyncio.Future[InvokeResult]) -> bool:
        return answer.done() and not answer.cancelled() and answer.result().payload == b"the last word"

    @rule()
    def time_passes_and_idle_ones_freeze(self) -> None:
        for pool in self.invoker.pools:
            self.inside(lambda pool=pool: pool.freeze(time.monotonic_ns(), 0))

    @rule()
    def idle_ones_expire(self) -> None:
        for pool in self.invoker.pools:
            self.inside(lambda pool=pool: pool.expire(time.monotonic_ns(), 0))

    @rule()
    def the_function_is_updated(self) -> None:
        old, self.function = self.function, self._next_revision()
        self.inside(lambda: self.invoker.retire(old))

    @rule(count=st.integers(0, 3))
    def it_is_provisioned(self, count: int) -> None:
        self.inside(lambda: self.invoker.provision(self.function, count))

    @invariant()
    def accepted_is_settled_or_in_flight(self) -> None:
        settled = sum(answer.done() for answer in self.answers)
        in_flight = sum(pool.in_flight for pool in self.invoker.pools)
        assert self.accepted == settled + in_flight
        assert in_flight <= CONCURRENCY
        assert self.invoker._in_flight == in_flight

    @invariant()
    def counts_are_what_is_there(self) -> None:
        starting = sum(pool.load.starting for pool in self.invoker.pools)
        assert starting == self.invoker._starting <= INITS
        live = [e for pool in self.invoker.pools for e in pool.environments.values()]
        assert len(live) == self.invoker._live
        assert all(environment.state is not State.STOPPED for environment in live)

    @invariant()
    def nobody_waits_beside_an_idle_environment(self) -> None:
        for pool in self.invoker.pools:
            begun = len([runtime for runtime in self.environments(State.INVOKE) if runtime.unheard])
            assert not (pool.load.waiting > begun and pool.load.idle)

    @invariant()
    def whoever_waits_is_being_helped(self) -> None:
        for pool in self.invoker.pools:
            if pool.load.waiting:
                full = self.invoker._starting == INITS or self.invoker._live == ENVIRONMENTS
                assert pool.load.starting or pool.load.serving or full
                assert not (full and sum(other.load.idle for other in self.invoker.pools if not other.provisioned))

    def teardown(self) -> None:
        self.inside(self.invoker.close)
        records = [msgspec.json.decode(line) for line in self.journal.read()]
        finished = sum(record["type"] == "invocation" for record in records)
        throttled = sum(record["type"] == "throttle" for record in records)
        in_queue = sum(answer.cancelled() for answer in self.answers)
        assert (finished + in_queue, throttled) == (self.accepted, self.refused)
        assert self.script.opened or not self.accepted
        started = {record["environment"] for record in records if record["type"] == "environment_started"}
        stopped = {record["environment"] for record in records if record["type"] == "environment_stopped"}
        assert started == stopped
        self.journal.close()
        self.loop.close()
        self.clock.stop()
        self.directory.cleanup()


TestInvoker = Machine.TestCase
TestInvoker.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
