"""What the tests of the Lambda service share: a fake invoker, a provider in a directory, small packages."""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import PreheatError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.http import HttpRequest
from preheat.kernel.image import ImageSource
from preheat.kernel.settings import Settings
from preheat.services.lambda_.provider import LambdaProvider

ROLE = "arn:aws:iam::000000000000:role/LabRole"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
SOURCE = b"def lambda_handler(event, context):\n    return event\n"
CONTEXT = OperationContext(
    service="lambda",
    operation="",
    region="us-east-1",
    account_id="000000000000",
    access_key_id="test",
    request_id="11111111-2222-4333-8444-555555555555",
    http=HttpRequest("POST", "/", headers=[("Host", "localhost:4599")]),
)


class FakeInvoker:
    """Keeps what it was asked; answers at once, or by `answer`; `snapshot` and `capacity` say how the rest goes."""

    def __init__(self) -> None:
        self.asked: list[tuple[FunctionVersion, Invocation]] = []
        self.retired: list[FunctionVersion] = []
        self.prepared: list[FunctionVersion] = []
        self.snapshot: Callable[[FunctionVersion], Awaitable[None]] = self._at_once
        self.provisions: dict[str, int] = {}
        self.capacity = 1000
        self.shortage: str | None = None
        self.answer: Callable[[FunctionVersion, Invocation], InvokeResult] = lambda function, invocation: InvokeResult(
            b'{"ok": true}', None, function.version, invocation.request_id, b"the tail\n"
        )

    async def _at_once(self, function: FunctionVersion) -> None:
        """A snapshot that is taken in no time."""

    def invoke(self, function: FunctionVersion, invocation: Invocation) -> asyncio.Future[InvokeResult]:
        self.asked.append((function, invocation))
        future: asyncio.Future[InvokeResult] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.answer(function, invocation))
        except Exception as error:
            future.set_exception(error)
        return future

    def retire(self, function: FunctionVersion) -> None:
        self.retired.append(function)

    async def prepare(self, function: FunctionVersion) -> None:
        self.prepared.append(function)
        await self.snapshot(function)

    def provision(self, function: FunctionVersion, count: int) -> None:
        self.provisions[function.revision_id] = count

    def provisioned(self, function: FunctionVersion) -> tuple[int, int, str | None]:
        count = self.provisions.get(function.revision_id, 0)
        return min(count, self.capacity), count, self.shortage


def this_python(runtime: str) -> Path:
    """Every runtime is this interpreter, but python3.8 is not installed."""
    if runtime == "python3.8":
        raise PreheatError("no interpreter for runtime python3.8 found: install python3.8 and put it on PATH")
    return Path(sys.executable)


def zipped(files: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (files or {"lambda_function.py": SOURCE}).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def creation(name: str = "iris", **more: Any) -> dict[str, Any]:
    """CreateFunction's parameters."""
    return {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "lambda_function.lambda_handler",
        "Code": {"ZipFile": zipped()},
        **more,
    }


@asynccontextmanager
async def provider_in(
    data_dir: Path, invoker: FakeInvoker | None = None, images: ImageSource | None = None, **settings: Any
) -> AsyncIterator[Any]:
    """A started provider (typed loosely: tests reach for its operations by name)."""
    provider = LambdaProvider(Settings(data_dir=data_dir, **settings), invoker or FakeInvoker(), this_python, images)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def created(provider: Any, name: str = "iris", **more: Any) -> dict[str, Any]:
    """A function, Active; its configuration."""
    await provider.create_function(CONTEXT, creation(name, **more))
    await provider.settled()
    configuration: dict[str, Any] = provider.get_function_configuration(CONTEXT, {"FunctionName": name})
    return configuration
