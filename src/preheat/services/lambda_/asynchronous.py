"""InvocationType Event: the queue between Invoke's 202 and the function, and what follows a failure."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time

from preheat.kernel.errors import AwsError
from preheat.kernel.function import Invocation, InvokeResult
from preheat.services.lambda_ import event_rules
from preheat.services.lambda_.attachments import EventInvoke
from preheat.services.lambda_.event_rules import Over, Rules
from preheat.services.lambda_.events import Event, EventStore
from preheat.services.lambda_.models import LATEST, new_id
from preheat.services.lambda_.queue_files import Attributes, QueueFiles
from preheat.services.lambda_.registry import FunctionRegistry

_log = logging.getLogger(__name__)

_MAX_IN_FLIGHT = 256
"""Events handed to the invoker at once: a backlog of any size leaves room for other requests."""
_FOREVER_S = 3600.0
_CLOSING_S = 5.0
_TIDYING_S = 0.01


class EventQueue:
    """Tries events when they are due. An event leaves the store only once its end has been delivered, so after
    `kill -9` it is tried again: at least once, as on AWS."""

    def __init__(self, registry: FunctionRegistry, files: QueueFiles, retry_s: float) -> None:
        self._registry = registry
        self._store = EventStore(registry.store.db)
        self._files = files
        self._retry_s = retry_s
        self._due: list[tuple[int, str]] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tidying: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._closed = False

    def start(self) -> None:
        """Take up what an earlier server had accepted."""
        self._due = list(self._store.waiting())
        heapq.heapify(self._due)
        self._pump()
        self._tidy()

    async def close(self) -> None:
        """Stop trying; what is not done is tried again after the next start.

        Attempts under way may end first, within limits: cut off they would be made twice.
        """
        self._closed = True
        for timer in (self._timer, self._tidying):
            if timer is not None:
                timer.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=_CLOSING_S)
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    async def drained(self) -> None:
        """Wait until no event is left."""
        while self._due or self._attempts:
            self._empty.clear()
            await self._empty.wait()

    def accept(self, event: Event) -> None:
        """Once this has returned the event is kept until it has been dealt with."""
        self._put(event)
        self._pump()

    def _put(self, event: Event) -> None:
        self._store.add(event)
        heapq.heappush(self._due, (event.due_ms, event.id))

    def _pump(self) -> None:
        """Start the attempts that are due; come back when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] <= _now_ms() and len(self._attempts) < _MAX_IN_FLIGHT:
            _, event_id = heapq.heappop(self._due)
            task = loop.create_task(self._attempt(event_id))
            self._attempts.add(task)
            task.add_done_callback(self._attempted)
        if self._due and len(self._attempts) < _MAX_IN_FLIGHT:
            wait_s = max(0.001, min((self._due[0][0] - _now_ms()) / 1000, _FOREVER_S))
            self._timer = loop.call_later(wait_s, self._pump)
        if not self._due and not self._attempts:
            self._empty.set()

    def _attempted(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an asynchronous invocation failed", exc_info=error)
        self._pump()
        if self._tidying is None:
            self._tidy()

    def _tidy(self) -> None:
        """Give disk space of finished events back, in steps with room for others in between."""
        self._tidying = None
        if not self._closed and self._store.give_back():
            self._tidying = asyncio.get_running_loop().call_later(_TIDYING_S, self._tidy)

    async def _attempt(self, event_id: str) -> None:
        event = self._store.get(event_id)
        if event is None:  # its function was deleted
            return
        rules = event_rules.rules(self._config(event), self._retry_s)
        if event_rules.too_old(event, rules, _now_ms()):
            self._finish(Over(event, "EventAgeExceeded"), "Unhandled" if event.attempts else None)
        elif self._registry.store.attached(event.name).reserved_concurrency == 0:
            self._finish(Over(event, "ZeroReservedConcurrency"), None)
        else:
            await self._invoke(event, rules)

    async def _invoke(self, event: Event, rules: Rules) -> None:
        try:
            result = await self._result(event)
        except Exception as error:
            if isinstance(error, AwsError) and error.status == 404:  # its version or alias is gone
                self._store.remove(event.id)
                return
            if not isinstance(error, AwsError):
                _log.exception("event %s could not be handed over", event.id)
            if self._store.get(event.id) is not None:
                self._put(event_rules.after_refusal(event, rules, _now_ms()))
            return
        if self._store.get(event.id) is None:
            return
        after = event_rules.after_result(event, result, rules, _now_ms())
        if isinstance(after, Over):
            self._finish(after, result.function_error)
        else:
            self._put(after)

    async def _result(self, event: Event) -> InvokeResult:
        """Raises AwsError for what did not reach the function."""
        function = self._registry.resolve(event.name, event.qualifier or None)
        invocation = Invocation(
            request_id=event.id,
            payload=event.payload,
            received_ns=time.monotonic_ns(),
            invoked_arn=f"{function.arn}:{event.qualifier}" if event.qualifier else function.arn,
            client_context=event.client_context,
            trace_id=event.trace_id,
        )
        return await self._registry.invoker.invoke(function, invocation)

    def _config(self, event: Event) -> EventInvoke | None:
        return self._registry.store.attached(event.name).event_invoke.get(event.qualifier or LATEST)

    # the end

    def _finish(self, over: Over, function_error: str | None) -> None:
        """Tell the destinations, then forget the event. One that cannot be told is left out, as on AWS, whose metrics
        for it (DestinationDeliveryFailures, DeadLetterErrors) are a line of the server's log here."""
        event, config = over.event, self._config(over.event)
        failed = over.condition != "Success"
        destination = (config.on_failure if failed else config.on_success) if config else ""
        if destination:
            arn = self._registry.arn(event.name)
            self._deliver(destination, event_rules.record(over, arn, function_error, _now_ms()))
        dead_letter_arn = self._dead_letter_arn(event)
        if failed and dead_letter_arn:
            self._send(dead_letter_arn, event.payload, event_rules.dead_letter_attributes(event))
        self._store.remove(event.id)

    def _dead_letter_arn(self, event: Event) -> str:
        try:
            return self._registry.find(event.name, event.qualifier or None)[0].dead_letter_arn
        except AwsError:
            return ""

    def _deliver(self, arn: str, record: bytes) -> None:
        """To another function as an event of its own; anything else to its file."""
        service = arn.split(":")[2]
        if service == "events":
            record = event_rules.bus_event(record, arn, new_id(), _now_ms())
        if service != "lambda":
            self._send(arn, record)
            return
        try:
            name, qualifier = self._registry.parse(arn)
            self._registry.find(name, qualifier)
        except AwsError as error:
            _log.warning("destination %s: %s", arn, error.message)
            return
        self._put(new_event(name, qualifier, record))

    def _send(self, arn: str, body: bytes, attributes: Attributes | None = None) -> None:
        try:
            self._files.send(arn, body, attributes)
        except OSError as error:
            _log.error("a message for %s is lost: %s", arn, error)


def new_event(
    name: str, qualifier: str | None, payload: bytes, request_id: str = "", client_context: str = "", trace_id: str = ""
) -> Event:
    """An event accepted now and due at once."""

    now_ms = _now_ms()
    return Event(
        id=request_id or new_id(),
        name=name,
        qualifier=qualifier or "",
        payload=payload,
        accepted_ms=now_ms,
        due_ms=now_ms,
        client_context=client_context,
        trace_id=trace_id,
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
