"""InvokeWithResponseStream: the response as events, sent while the function writes it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec

from preheat.kernel.function import InvokeResult
from preheat.kernel.stream import ResponseStream

_CHUNK_BYTES = 64 * 1024
"""Payload in one event at most; any size up to 16 MB will do (Smithy)."""


async def answer(invocation: asyncio.Future[InvokeResult], stream: ResponseStream, tail: bool) -> dict[str, Any]:
    """The operation's result, once there is a first word of the response. Raises AwsError for what never reached
    the function."""
    invocation.add_done_callback(lambda _: stream.end())
    version = stream.version if await stream.started() else invocation.result().executed_version
    return {"StatusCode": 200, "ExecutedVersion": version, "EventStream": _Events(invocation, stream, tail)}


class _Events:
    """PayloadChunk events, then one InvokeComplete. Closing it lets the function run to its end unheard."""

    def __init__(self, invocation: asyncio.Future[InvokeResult], stream: ResponseStream, tail: bool) -> None:
        self._invocation = invocation
        self._stream = stream
        self._tail = tail
        self._rest = b"" if stream.began else invocation.result().payload
        self._complete = False

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if not self._rest and self._stream.began:
            self._rest = await anext(self._stream, b"")
        if self._rest:
            chunk, self._rest = self._rest[:_CHUNK_BYTES], self._rest[_CHUNK_BYTES:]
            return {"PayloadChunk": {"Payload": chunk}}
        if self._complete:
            raise StopAsyncIteration
        self._complete = True
        return {"InvokeComplete": _complete(await asyncio.shield(self._invocation), self._stream.began, self._tail)}

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Error(msgspec.Struct):
    errorType: str = ""


def _complete(result: InvokeResult, streamed: bool, tail: bool) -> dict[str, str]:
    """How it ended. `ErrorCode` is the error's type where it broke off a stream, else as in `X-Amz-Function-Error`;
    `ErrorDetails` its payload (both unverified: the documents call them "an error code" and "the details")."""
    complete: dict[str, str] = {}
    if result.function_error:
        kind = _error_type(result.payload) if streamed else ""
        complete["ErrorCode"] = kind or result.function_error
        complete["ErrorDetails"] = result.payload[:_CHUNK_BYTES].decode(errors="replace")
    if tail:
        complete["LogResult"] = base64.b64encode(result.log_tail).decode()
    return complete


def _error_type(payload: bytes) -> str:
    try:
        return msgspec.json.decode(payload, type=_Error).errorType
    except msgspec.DecodeError:
        return ""
