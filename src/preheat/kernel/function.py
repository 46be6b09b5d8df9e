"""What a function is to those who run it, and what an invocation is to those who ask for one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from preheat.kernel.image import ImageProgram
from preheat.kernel.stream import ResponseStream


@dataclass(frozen=True, slots=True, eq=False)
class FunctionVersion:
    """One runnable revision of a function: code and configuration, never changed in place.

    `revision_id` differs after every update of code or configuration, so it names the pool of
    execution environments that may serve it.
    """

    name: str
    version: str
    arn: str
    """Unqualified: arn:aws:lambda:<region>:<account>:function:<name>."""
    revision_id: str
    runtime: str
    handler: str
    code_dir: str
    memory_mb: int = 128
    timeout_s: int = 3
    environment: Mapping[str, str] = field(default_factory=dict)
    region: str = "us-east-1"
    account_id: str = "000000000000"
    role: str = ""
    """ARN of the role whose credentials its environments have."""
    log_group: str = ""
    log_format: str = "Text"
    application_log_level: str = ""
    system_log_level: str = ""
    """Levels of the JSON log format (TRACE to FATAL; DEBUG, INFO, WARN); "" with Text."""
    ephemeral_storage_mb: int = 512
    reserved_concurrency: int | None = None
    snap_start: bool = False
    """A published version whose environments are restored from a snapshot taken after init."""
    layer_dirs: tuple[str, ...] = ()
    """Unpacked layers in the order attached; what AWS shows merged below /opt."""

    image: ImageProgram | None = None
    """What an image function's environments run; `runtime` and `code_dir` are empty then."""

    @property
    def qualified_arn(self) -> str:
        return f"{self.arn}:{self.version}"


class Invocation(msgspec.Struct, frozen=True):
    """One request for a function. Times are `time.monotonic_ns()`."""

    request_id: str
    payload: bytes
    received_ns: int
    invoked_arn: str = ""
    client_context: str = ""
    trace_id: str = ""
    gateway_request_id: str | None = None
    """The id an HTTP client saw as x-amzn-RequestId, where API Gateway stood in between."""
    stream: ResponseStream | None = None
    """Where a response that the function streams goes as it is written; None: it is wanted whole."""


class InvokeResult(msgspec.Struct, frozen=True):
    """`function_error` is None or "Unhandled"; `log_tail` is the last 4 KB of the invocation's log. Of a response
    that has been streamed `payload` is empty, or the error that ended it."""

    payload: bytes
    function_error: str | None
    executed_version: str
    request_id: str
    log_tail: bytes = b""


class Invoker(Protocol):
    """Runs invocations. The future raises AwsError (TooManyRequestsException and the like) for what
    never reached the function; whatever the function itself did is an InvokeResult."""

    def invoke(self, function: FunctionVersion, invocation: Invocation) -> asyncio.Future[InvokeResult]: ...

    async def prepare(self, function: FunctionVersion) -> None:
        """Take the snapshot of a `snap_start` version. Raises AwsError with the reason if its init fails."""

    def provision(self, function: FunctionVersion, count: int) -> None:
        """Keep `count` environments of this revision initialised, whatever is asked of them; 0 ends it."""

    def provisioned(self, function: FunctionVersion) -> tuple[int, int, str | None]:
        """(initialised, requested, why the rest failed or None) of provisioned environments."""

    def retire(self, function: FunctionVersion) -> None:
        """No new invocation will name this revision: requests in flight finish, then its environments stop."""


LogEvent = tuple[int, str]
"""Epoch milliseconds and the message."""


class LogSink(Protocol):
    """Where log events go. What `put` has returned from survives `kill -9`."""

    def create_stream(self, group: str, stream: str) -> None:
        """Make the stream, and the group where missing; no harm if both exist."""

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None: ...


class FunctionDirectory(Protocol):
    """Finds the revision that an ARN, partial ARN or name means right now."""

    def resolve(self, identifier: str, qualifier: str | None = None) -> FunctionVersion:
        """Raise AwsError ResourceNotFoundException (404, `Function not found: <qualified arn>`)."""


class EventIntake(Protocol):
    """Takes events that nobody waits for: what Lambda's InvocationType Event does."""

    def accept_event(self, identifier: str, payload: bytes, request_id: str, trace_id: str) -> None:
        """Keep the event; it is delivered, retried and sent on as Lambda does. Raises AwsError for what it refuses."""


class Functions(FunctionDirectory, EventIntake, Protocol):
    """Lambda, as API Gateway sees it."""


@dataclass(frozen=True, slots=True)
class FunctionUrl:
    """One function URL, for the data plane that serves it.

    `function_arn` is qualified by the alias where it has one. `auth_type` is NONE or AWS_IAM, `invoke_mode`
    BUFFERED or RESPONSE_STREAM. `cors` is by the API's member names (AllowOrigins, MaxAge, ...), None without CORS.
    """

    url_id: str
    function_arn: str
    auth_type: str
    invoke_mode: str
    cors: Mapping[str, Any] | None = None


class UrlDirectory(Protocol):
    """Finds what a function URL's host name (`<url id>.lambda-url.<region>.<domain>`) means right now."""

    def lookup_url(self, url_id: str) -> tuple[FunctionVersion, FunctionUrl] | None:
        """None where there is no such URL. Raises AwsError where its function cannot run now (409 while Pending)."""
