"""The environments of one function revision and the requests that wait for them."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from preheat.execution import payloads
from preheat.execution.environment import Environment
from preheat.execution.following import SHORT_MS
from preheat.execution.runtime import Services
from preheat.execution.variables import ON_DEMAND, PROVISIONED, SNAP_START
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.lifecycle import State
from preheat.kernel.placement import PoolLoad, expired
from preheat.sandbox.template import TemplateError

_PLAIN_MB = 128
"""The Iris example's environment, scikit-learn loaded: 117 MB (its REPORT line)."""
_RESTORED_MB = 4
"""The same restored from a snapshot: about 3 MB of its own (`make bench`, env_pss_mb)."""


@dataclass(slots=True)
class Waiting:
    invocation: Invocation
    answer: asyncio.Future[InvokeResult]


class Landlord(Protocol):
    """Who shares the machine out among the pools (the invoker)."""

    def on_init_over(self) -> None:
        """An init slot is free."""

    def on_stopped(self, pool: Pool) -> None:
        """An environment is gone."""

    def linger_us(self) -> int:
        """How long it pays to poll, now; 0 not at all."""

    def on_idle(self) -> None:
        """An environment has nothing to do."""

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
        self.provisioned = 0
        """Environments to keep initialised whatever is asked of them (provisioned concurrency)."""
        self.provisioning_failure: str | None = None
        self._services = services
        self._landlord = landlord
        self._idle: list[Environment] = []
        self._waiting: deque[Waiting] = deque()
        self._ahead: dict[Environment, Waiting] = {}
        """Requests that lie in the socket of a busy runtime, the oldest first: they wait, too."""
        self._patience: asyncio.TimerHandle | None = None
        self._starting = 0
        self._serving = 0

    @property
    def memory_mb(self) -> int:
        """What one more environment is estimated to take of the machine's memory."""
        return _RESTORED_MB if self._services.snapshot is not None else _PLAIN_MB

    @property
    def load(self) -> PoolLoad:
        return PoolLoad(len(self._idle), self._starting, self._serving, len(self._waiting) + len(self._ahead))

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting or self._ahead)

    @property
    def in_flight(self) -> int:
        return self._serving + len(self._waiting) + len(self._ahead)

    def serve_now(self, invocation: Invocation, answer: asyncio.Future[InvokeResult]) -> None:
        """Reuse the environment that was idle for the shortest time: the others may then expire."""
        environment = self._idle.pop()
        self._serving += 1
        environment.invoke(invocation, _deliver_to(answer))

    def queue(self, invocation: Invocation, answer: asyncio.Future[InvokeResult]) -> None:
        self._waiting.append(Waiting(invocation, answer))

    def oldest_wait_ns(self) -> int:
        """When the request that has waited longest was received; only with requests waiting."""
        first = next(iter(self._ahead.values())) if self._ahead else self._waiting[0]
        return first.invocation.received_ns

    def start(self) -> None:
        """Start one more environment: a provisioned one while any of those is missing."""
        if self._services.snapshot is not None:
            init_type = SNAP_START
        else:
            init_type = PROVISIONED if self.provisioned_missing() else ON_DEMAND
        environment = Environment(uuid.uuid4().hex, self.function, self._services, self, init_type)
        self.environments[environment.identity] = environment
        self._starting += 1
        environment.start()

    async def take_snapshot(self) -> None:
        """Raises AwsError with the runtime's own reason if init fails; nothing to do without SnapStart."""
        if self._services.snapshot is None:
            if self.function.snap_start and self.function.image is not None:
                kind = self._services.sandboxes.name
                message = f"images run in the {kind} sandbox here, which has no snapshots (docs/behaviour.md)"
                raise AwsError("SnapStartException", f"Error: SnapStart: {message}", 400)
            return
        try:
            await self._services.snapshot.ready()
        except TemplateError as error:
            kind = payloads.error_type(error.body) or "Runtime.ExitError"
            message = payloads.error_message(error.body) or str(error)
            reason = f"An error occurred during function initialization. {kind}: {message}"  # AWS's sentence, then why
            raise AwsError("FunctionError", reason, 400) from None

    def snapshot_died(self) -> bool:
        """There is no template to restore from: the next start takes the snapshot again."""
        return self._services.snapshot is not None and self._services.snapshot.factory.died

    def provisioned_missing(self) -> int:
        """Provisioned environments still to be started; none for a revision whose init has failed."""
        if self.provisioning_failure is not None:
            return 0
        return max(0, self.provisioned - len(self._provisioned_environments()))

    def provisioned_ready(self) -> int:
        ready = (State.READY, State.INVOKE)
        return min(self.provisioned, sum(e.state in ready for e in self._provisioned_environments()))

    def _provisioned_environments(self) -> list[Environment]:
        return [e for e in self.environments.values() if e.init_type == PROVISIONED]

    def provision(self, count: int) -> None:
        """Set how many environments are provisioned; those too many stop once idle."""
        self.provisioned = count
        self.provisioning_failure = None
        surplus = len(self._provisioned_environments()) - count
        for environment in [e for e in self._idle if e.init_type == PROVISIONED][: max(0, surplus)]:
            self._stop(environment, "deprovisioned")

    def retire(self) -> None:
        """The revision has been replaced: finish what is here, then go."""
        self.retired = True
        self.provisioned = 0
        for environment in list(self._idle):
            self._stop(environment, "updated")
        self._leave_if_empty()

    def expire(self, now_ns: int, keep_alive_ns: int) -> None:
        idle = {e.identity: e for e in self._idle}
        since = [(e.identity, e.idle_since_ns) for e in self._idle if not self._is_kept(e)]
        for identity in expired(since, now_ns, keep_alive_ns):
            self._stop(idle[identity], "expired")

    @property
    def idle_longest(self) -> Environment | None:
        """Whose turn it is to give way when the machine is full; what is provisioned is kept."""
        return next((environment for environment in self._idle if not self._is_kept(environment)), None)

    def idle_since_ns(self) -> int:
        """Since when that one is idle; only where there is one."""
        assert self.idle_longest is not None
        return self.idle_longest.idle_since_ns

    def evict(self) -> None:
        assert self.idle_longest is not None
        self._stop(self.idle_longest, "evicted")

    def freeze(self, now_ns: int, grace_ns: int) -> bool:
        """Freeze what has been idle for the grace; whether some idle environment is not frozen yet."""
        left = False
        for environment in reversed(self._idle):
            if environment.frozen or environment.state is not State.READY:
                continue
            if now_ns - environment.idle_since_ns >= grace_ns:
                environment.freeze()
            else:
                left = True
        return left

    def _is_kept(self, environment: Environment) -> bool:
        return self.provisioned > 0 and environment.init_type == PROVISIONED

    def shut_down(self) -> None:
        for environment in list(self.environments.values()):
            environment.stop("shutdown")
        self.environments.clear()
        if self._patience is not None:
            self._patience.cancel()
        for waiting in self._waiting:
            waiting.answer.cancel()
        self._waiting.clear()
        self._close_snapshot()

    # what environments tell

    def on_initialised(self, environment: Environment) -> None:
        self._starting -= 1
        if environment.init_type == PROVISIONED and environment.state is State.RESET:
            self.provisioning_failure = "FUNCTION_ERROR_INIT_FAILURE"  # AWS's words for it
        self._free(environment)
        self._landlord.on_init_over()

    def linger_us(self) -> int:
        return self._landlord.linger_us()

    def on_free(self, environment: Environment) -> None:
        self._serving -= 1
        self._free(environment)
        self._landlord.on_request_over()

    def on_next_begun(self, environment: Environment) -> None:
        del self._ahead[environment]
        self._serve_waiting()
        self._send_ahead(environment)
        self._landlord.on_request_over()

    def on_returned(self, environment: Environment) -> None:
        self._waiting.appendleft(self._ahead.pop(environment))

    def _send_ahead(self, environment: Environment) -> None:
        if not self._waiting:
            return
        first = self._waiting[0]
        if environment.send_ahead(first.invocation, _deliver_to(first.answer)):
            self._ahead[environment] = self._waiting.popleft()
            if self._patience is None:
                self._patience = asyncio.get_running_loop().call_later(SHORT_MS / 1000, self._lose_patience)

    def _lose_patience(self) -> None:
        """Whoever is first in line does not wait behind a request that takes long."""
        late = [e for e in self._ahead if e.busy_ms() > SHORT_MS and e.take_back()]
        self._waiting.extendleft([self._ahead.pop(environment) for environment in reversed(late)])
        again = bool(self._ahead)
        self._patience = asyncio.get_running_loop().call_later(SHORT_MS / 1000, self._lose_patience) if again else None
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Beside an idle environment a request can wait only until it is known which one its runtime has begun."""
        while self._waiting and self._idle:
            self._free(self._idle.pop())

    def _first_in_line(self) -> Waiting | None:
        if self._waiting:
            return self._waiting.popleft()
        for environment in self._ahead:
            if environment.take_back():
                return self._ahead.pop(environment)
        return None

    def _free(self, environment: Environment) -> None:
        if environment.state is State.STOPPED:
            return
        first = self._first_in_line()
        if first is not None:
            self._serving += 1
            environment.invoke(first.invocation, _deliver_to(first.answer))
            self._send_ahead(environment)
        elif self.retired:
            self._stop(environment, "updated")
            self._leave_if_empty()
        elif environment.state is State.RESET:
            self._idle.insert(0, environment)  # the last to be chosen: its next request repeats the init
        else:
            self._idle.append(environment)
            self._landlord.on_idle()

    def _stop(self, environment: Environment, reason: str) -> None:
        if environment in self._idle:
            self._idle.remove(environment)
        self.environments.pop(environment.identity, None)
        environment.stop(reason)
        self._landlord.on_stopped(self)

    def _leave_if_empty(self) -> None:
        if self.retired and not self.environments and not self._waiting:
            self._close_snapshot()
            self._landlord.on_empty(self)

    def _close_snapshot(self) -> None:
        if self._services.snapshot is not None:
            self._services.snapshot.close()


def _deliver_to(answer: asyncio.Future[InvokeResult]) -> Callable[[InvokeResult], None]:
    def deliver(result: InvokeResult) -> None:
        if not answer.done():  # whoever asked may have gone: the invocation finished all the same
            answer.set_result(result)

    return deliver
