"""Takes invocations, and shares concurrency and init slots out among the functions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from preheat.execution.environment import Services
from preheat.execution.linger import Linger
from preheat.execution.pool import Pool
from preheat.execution.snapshots import Snapshot
from preheat.kernel.errors import AwsError
from preheat.kernel.events import Throttled
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.placement import Placement, Room, place, starts_wanted
from preheat.kernel.settings import Settings
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
        room = self._room(pool)
        decision = place(pool.load, room)
        if decision is Placement.THROTTLE:
            answer.set_exception(self._throttle(function, invocation))
            return answer
        self._in_flight += 1
        if decision is Placement.REUSE:
            pool.serve_now(invocation, answer)
        else:
            pool.queue(invocation, answer)
            if decision is Placement.START:
                self._start(pool)
        return answer

    def _pool(self, function: FunctionVersion) -> Pool:
        pool = self._pools.get(function.revision_id)
        if pool is None:
            services = self._services if function.image is None else self._for_images
            if function.snap_start and isinstance(services.sandboxes, ProcessFactory):
                factory = SnapshotFactory(services.sandboxes, self._settings.spares_max)
                snapshot = Snapshot(function, factory, services.logs, services.endpoint_url)
                services = replace(services, sandboxes=factory, snapshot=snapshot)
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

    # what pools tell

    def on_init_over(self) -> None:
        self._starting -= 1
        self._fill()

    def linger_us(self, more_waiting: bool) -> int:
        return self._linger.for_request(self._in_flight, more_waiting)

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

    def _room(self, pool: Pool) -> Room:
        reserved = pool.function.reserved_concurrency
        if reserved is None:
            concurrency = self._settings.account_concurrency - (self._in_flight - pool.in_flight)
        else:  # of the function: its versions share it
            versions = [each for each in self._pools.values() if each.function.arn == pool.function.arn]
            concurrency = reserved - sum(each.in_flight for each in versions if each is not pool)
        settings = self._settings
        by_memory = (settings.memory_budget_mb - self._used_mb) // pool.memory_mb
        slots = min(settings.max_inits - self._starting, settings.max_environments - self._live, by_memory)
        return Room(concurrency, max(0, slots))

    def _start(self, pool: Pool) -> None:
        self._starting += 1
        self._live += 1
        self._used_mb += pool.memory_mb
        pool.start()

    def _fill(self) -> None:
        """Give free init slots to the pools whose requests have waited longest, then to provisioning."""
        hungry = [pool for pool in self._pools.values() if pool.load.waiting]
        for pool in sorted(hungry, key=Pool.oldest_wait_ns):
            for _ in range(starts_wanted(pool.load, self._room(pool))):
                self._start(pool)
        for pool in self._pools.values():
            if pool.provisioned:
                for _ in range(min(pool.provisioned_missing(), self._room(pool).init_slots)):
                    self._start(pool)

    def _throttle(self, function: FunctionVersion, invocation: Invocation) -> AwsError:
        reserved = function.reserved_concurrency is not None
        reason = (
            "ReservedFunctionConcurrentInvocationLimitExceeded" if reserved else "ConcurrentInvocationLimitExceeded"
        )
        self._services.journal.write(
            Throttled(time.time() * 1000, invocation.request_id, invocation.gateway_request_id, function.name, reason)
        )
        return AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": reason})

    def _tick_s(self) -> float:
        return max(0.05, min(5.0, self._settings.keep_alive_s / 4))

    def _expire(self) -> None:
        keep_alive_ns = int(self._settings.keep_alive_s * 1e9)
        for pool in self.pools:
            pool.expire(time.monotonic_ns(), keep_alive_ns)
        self._janitor = self._loop.call_later(self._tick_s(), self._expire)
