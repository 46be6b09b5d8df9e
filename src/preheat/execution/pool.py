"""The environments of one function revision and the requests that wait for them."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from preheat.execution.environment import Environment, Services
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.lifecycle import State
from preheat.kernel.placement import PoolLoad, expired


@dataclass(slots=True)
class Waiting:
    invocation: Invocation
    answer: asyncio.Future[InvokeResult]


class Landlord(Protocol):
    """Who shares the machine out among the pools (the invoker)."""

    def on_init_over(self) -> None:
        """An init slot is free."""

    def on_stopped(self) -> None:
        """An environment is gone."""

    def on_request_over(self) -> None:
        """A request has left its pool."""

    def on_empty(self, pool: Pool) -> None:
        """A retired pool has nothing left to do."""


class Pool:
    """Acts on what `kernel.placement` decides; keeps the counts that it decides from."""

    def __init__(self, function: FunctionVersion, services: Services, landlord: Landlord) -> None:
        self.function = function
        self.environments: dict[str, Environment] = {}
        self.retired = False
        self._services = services
        self._landlord = landlord
        self._idle: list[Environment] = []
        self._waiting: deque[Waiting] = deque()
        self._starting = 0
        self._serving = 0

    @property
    def load(self) -> PoolLoad:
        return PoolLoad(len(self._idle), self._starting, self._serving, len(self._waiting))

    @property
    def in_flight(self) -> int:
        return self._serving + len(self._waiting)

    def serve_now(self, invocation: Invocation, answer: asyncio.Future[InvokeResult]) -> None:
        """Reuse the environment that was idle for the shortest time: the others may then expire."""
        environment = self._idle.pop()
        self._serving += 1
        environment.invoke(invocation, _deliver_to(answer))

    def queue(self, invocation: Invocation, answer: asyncio.Future[InvokeResult]) -> None:
        self._waiting.append(Waiting(invocation, answer))

    def oldest_wait_ns(self) -> int:
        """When the request that has waited longest was received; only with requests waiting."""
        return self._waiting[0].invocation.received_ns

    def start(self) -> None:
        """Start one more environment."""
        environment = Environment(uuid.uuid4().hex, self.function, self._services, self)
        self.environments[environment.identity] = environment
        self._starting += 1
        environment.start()

    def retire(self) -> None:
        """The revision has been replaced: finish what is here, then go."""
        self.retired = True
        for environment in list(self._idle):
            self._stop(environment, "updated")
        self._leave_if_empty()

    def expire(self, now_ns: int, keep_alive_ns: int) -> None:
        idle = {e.identity: e for e in self._idle}
        for identity in expired(((e.identity, e.idle_since_ns) for e in self._idle), now_ns, keep_alive_ns):
            self._stop(idle[identity], "expired")

    def shut_down(self) -> None:
        for environment in list(self.environments.values()):
            environment.stop("shutdown")
        self.environments.clear()
        for waiting in self._waiting:
            waiting.answer.cancel()
        self._waiting.clear()

    # what environments tell

    def on_initialised(self, environment: Environment) -> None:
        self._starting -= 1
        self._free(environment)
        self._landlord.on_init_over()

    def on_free(self, environment: Environment) -> None:
        self._serving -= 1
        self._free(environment)
        self._landlord.on_request_over()

    def _free(self, environment: Environment) -> None:
        if environment.state is State.STOPPED:
            return
        if self._waiting:
            first = self._waiting.popleft()
            self._serving += 1
            environment.invoke(first.invocation, _deliver_to(first.answer))
        elif self.retired:
            self._stop(environment, "updated")
            self._leave_if_empty()
        elif environment.state is State.RESET:
            self._idle.insert(0, environment)  # the last to be chosen: its next request repeats the init
        else:
            self._idle.append(environment)

    def _stop(self, environment: Environment, reason: str) -> None:
        if environment in self._idle:
            self._idle.remove(environment)
        self.environments.pop(environment.identity, None)
        environment.stop(reason)
        self._landlord.on_stopped()

    def _leave_if_empty(self) -> None:
        if self.retired and not self.environments and not self._waiting:
            self._landlord.on_empty(self)


def _deliver_to(answer: asyncio.Future[InvokeResult]) -> Callable[[InvokeResult], None]:
    def deliver(result: InvokeResult) -> None:
        if not answer.done():  # whoever asked may have gone: the invocation finished all the same
            answer.set_result(result)

    return deliver
