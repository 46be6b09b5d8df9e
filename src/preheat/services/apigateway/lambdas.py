"""The gateway as a client of Lambda: the one place where its requests become invocations."""

from __future__ import annotations

import asyncio
import logging

from preheat.kernel.errors import AwsError
from preheat.kernel.function import Functions, Invocation, Invoker, InvokeResult
from preheat.kernel.stream import ResponseStream
from preheat.services.apigateway.identifiers import RequestIds, uuid4

logger = logging.getLogger(__name__)


class Lambdas:
    def __init__(self, invoker: Invoker, functions: Functions) -> None:
        self._invoker = invoker
        self._functions = functions

    def start(
        self,
        function_arn: str,
        payload: bytes,
        ids: RequestIds,
        received_ns: int,
        stream: ResponseStream | None = None,
        request_id: str = "",
    ) -> asyncio.Future[InvokeResult]:
        """Raises AwsError, now or from the future, for what never reached the function."""
        return self._invoker.invoke(
            self._functions.resolve(function_arn),
            Invocation(
                request_id=request_id or uuid4(),
                payload=payload,
                received_ns=received_ns,
                invoked_arn=function_arn,
                trace_id=ids.trace,
                gateway_request_id=ids.request,
                stream=stream,
            ),
        )

    def send(self, function_arn: str, payload: bytes, ids: RequestIds) -> None:
        """An event that the function gets when it gets it. Raises AwsError for what Lambda refuses."""
        self._functions.accept_event(function_arn, payload, uuid4(), ids.trace)

    async def call(
        self, function_arn: str, payload: bytes, ids: RequestIds, received_ns: int, timeout_s: float
    ) -> InvokeResult:
        """The result; the function runs to its end whatever happens here. Raises AwsError and TimeoutError."""
        future = self.start(function_arn, payload, ids, received_ns)
        future.add_done_callback(_retrieve)
        return await asyncio.wait_for(asyncio.shield(future), timeout_s)


def _retrieve(future: asyncio.Future[InvokeResult]) -> None:
    """Note an error that comes when nobody waits any more."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, AwsError):
        logger.error("an invocation failed", exc_info=error)
