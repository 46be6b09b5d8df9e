"""Takes invocations, and shares concurrency and init slots out among the functions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from preheat.execution.kinds import needs_http
from preheat.execution.linger import Linger
from preheat.execution.pool import Pool
from preheat.execution.runtime import Services
from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.snapshots import Snapshot
from preheat.execution.socket_channel import SocketTransport
from preheat.kernel.errors import AwsError
from preheat.kernel.events import Throttled
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.placement import Placement, Room, place, starts_wanted
from preheat.kernel.settings import Settings
from preheat.sandbox.container import ContainerFactory
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.snapshot import SnapshotFactory


class PoolInvoker:
    """`kernel.function.Invoker` on this machine."""

    def __init__(self, services: Services, settings: Settings, for_images: Services | None = None) -> None:
        """`for_images`: what environments of image functions are made with, where it is something else."""
        self._services = services
        self._for_images = for_images or services
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._loop = asyncio.get_running_loop()
        self._in_flight = 0
        self._starting = 0
        self._live = 0
        self._used_mb = 0
        self._linger = Linger(settings.linger_us)
        self._freezer: asyncio.TimerHandle | None = None
        self._janitor = self._loop.call_later(self._tick_s(), self._expire)

    @property
    def pools(self) -> list[Pool]:
        return list(self._pools.values())

    def invoke(self, function: FunctionVersion, invocation: Invocation) -> asyncio.Future[InvokeResult]:
        answer: asyncio.Future[InvokeResult] = self._loop.create_future()
        pool = self._pool(function)
        decision = place(pool.load, Room(self._concurrency(pool), self._slots(pool)))
        if decision is Placement.THROTTLE:
            answer.set_exception(self._throttle(function, invocation))
            return answer
        self._in_flight += 1
        if decision is Placement.REUSE:
            pool.serve_now(invocation, answer)
        else:
            pool.queue(invocation, answer)
            self._start_wanted(pool)
        return answer

    def _pool(self, function: FunctionVersion) -> Pool:
        pool = self._pools.get(function.revision_id)
        if pool is None:
            services = self._services if function.image is None else self._for_images
            if function.snap_start and isinstance(services.sandboxes, ProcessFactory | ContainerFactory):
                factory = SnapshotFactory(services.sandboxes, self._settings.spares_max)
                snapshot = Snapshot(function, factory, services.logs, services.endpoint_url)
                # what is forked in a container has our client in it, whose channel reaches into any network
                transport = services.transport if isinstance(services.sandboxes, ProcessFactory) else SocketTransport()
                services = replace(services, sandboxes=factory, snapshot=snapshot, transport=transport)
            elif needs_http(function):
                services = replace(services, transport=RuntimeApiTransport())
            pool = self._pools[function.revision_id] = Pool(function, services, self)
        elif pool.function is not function:
            pool.function = function  # the same revision with another reserved concurrency
        return pool

    async def prepare(self, function: FunctionVersion) -> None:
        """Take the snapshot of a `snap_start` version. Raises AwsError with the reason if its init fails."""
        await self._pool(function).take_snapshot()

    def provision(self, function: FunctionVersion, count: int) -> None:
        self._pool(function).provision(count)
        self._fill()

    def provisioned(self, function: FunctionVersion) -> tuple[int, int, str | None]:
        pool = self._pool(function)
        return pool.provisioned_ready(), pool.provisioned, pool.provisioning_failure

    def retire(self, function: FunctionVersion) -> None:
        pool = self._pools.get(function.revision_id)
        if pool is not None:
            pool.retire()

    def close(self) -> None:
        """Stop every environment now."""
        self._janitor.cancel()
        if self._freezer is not None:
            self._freezer.cancel()
        for pool in self._pools.values():
            pool.shut_down()
        self._pools.clear()

    async def shut_down(self) -> None:
        """`close`, once every SHUTDOWN phase (of environments with extensions) is over."""
        self.close()
        if self._services.farewells:
            await asyncio.wait(set(self._services.farewells))

    # what pools tell

    def on_init_over(self) -> None:
        self._starting -= 1
        self._fill()

    def linger_us(self) -> int:
        return self._linger.for_request(self._in_flight)

    def on_idle(self) -> None:
        if self._freezer is None:
            self._freezer = self._loop.call_later(self._settings.freeze_grace_ms / 1000, self._freeze)

    def _freeze(self) -> None:
        """One timer for all: an environment that is asked again within the grace is never frozen and thawed."""
        self._freezer = None
        now_ns, grace_ns = time.monotonic_ns(), int(self._settings.freeze_grace_ms * 1e6)
        left = [pool for pool in self._pools.values() if pool.freeze(now_ns, grace_ns)]
        if left:
            self.on_idle()

    def on_stopped(self, pool: Pool) -> None:
        self._live -= 1
        self._used_mb -= pool.memory_mb

    def on_request_over(self) -> None:
        self._in_flight -= 1
        if self._in_flight:
            self._fill()

    def on_empty(self, pool: Pool) -> None:
        self._pools.pop(pool.function.revision_id, None)

    # shares

    def _concurrency(self, pool: Pool) -> int:
        reserved = pool.function.reserved_concurrency
        if reserved is None:
            return self._settings.account_concurrency - (self._in_flight - pool.in_flight)
        # of the function: its versions share it
        versions = [each for each in self._pools.values() if each.function.arn == pool.function.arn]
        claimed = (max(each.in_flight, each.provisioned) for each in versions if each is not pool)
        return reserved - sum(claimed)  # what is provisioned is nobody else's (recorded on AWS)

    def _slots(self, pool: Pool) -> int:
        """Environments that may begin their init now, as the machine's limits have it."""
        settings = self._settings
        if self._live >= settings.max_environments or self._starting >= settings.max_inits:
            return 0
        by_memory = (settings.memory_budget_mb - self._used_mb) // pool.memory_mb
        return max(0, min(settings.max_inits - self._starting, settings.max_environments - self._live, by_memory))

    def _start_wanted(self, pool: Pool) -> None:
        """Where the machine is full, what has been idle for longest in other pools gives way."""
        if not self._slots(pool) and (len(self._pools) == 1 or self._starting >= self._settings.max_inits):
            return
        for _ in range(starts_wanted(pool.load, Room(0, self._settings.max_inits - self._starting))):
            while not self._slots(pool):
                idle = [other for other in self._pools.values() if other is not pool and other.idle_longest is not None]
                if not idle:
                    return
                min(idle, key=Pool.idle_since_ns).evict()
            self._start(pool)

    def _start(self, pool: Pool) -> None:
        self._starting += 1
        self._live += 1
        self._used_mb += pool.memory_mb
        pool.start()

    def _fill(self) -> None:
        """Give free init slots to the pools whose requests have waited longest, then to provisioning."""
        hungry = [pool for pool in self._pools.values() if pool.has_waiting]
        for pool in sorted(hungry, key=Pool.oldest_wait_ns):
            self._start_wanted(pool)
        for pool in self._pools.values():
            if pool.provisioned:
                for _ in range(min(pool.provisioned_missing(), self._slots(pool))):
                    self._start(pool)

    def _throttle(self, function: FunctionVersion, invocation: Invocation) -> AwsError:
        reserved = function.reserved_concurrency is not None
        reason = (
            "ReservedFunctionConcurrentInvocationLimitExceeded" if reserved else "ConcurrentInvocationLimitExceeded"
        )
        self._services.journal.write(
            Throttled(
                at_ms=time.time() * 1000,
                request_id=invocation.request_id,
                gateway_request_id=invocation.gateway_request_id,
                function=function.name,
                reason=reason,
                version=function.version,
                qualifier=invocation.invoked_arn[len(function.arn) + 1 :] or None,
            )
        )
        return AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": reason})

    def _tick_s(self) -> float:
        return max(0.05, min(5.0, self._settings.keep_alive_s / 4))

    def _expire(self) -> None:
        keep_alive_ns = int(self._settings.keep_alive_s * 1e9)
        for pool in self.pools:
            pool.expire(time.monotonic_ns(), keep_alive_ns)
        self._janitor = self._loop.call_later(self._tick_s(), self._expire)
