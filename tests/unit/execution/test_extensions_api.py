"""The Extensions and Telemetry APIs over HTTP, driven by hand: every refusal, and what is answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from preheat.execution.extensions import Extensions
from preheat.execution.extensions_api import ExtensionsApi
from preheat.execution.logstream import LogStream
from preheat.kernel.function import FunctionVersion, LogEvent
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.platformlog import TextLog

pytestmark = pytest.mark.anyio
REGISTER, NEXT = "/2020-01-01/extension/register", "/2020-01-01/extension/event/next"
TELEMETRY = "/2022-07-01/telemetry"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:fn"
FUNCTION = FunctionVersion("fn", "3", ARN, "revision", "python3.11", "app.handler", "/code")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Sink:
    """Log events nobody asks for."""

    def create_stream(self, group: str, stream: str) -> None: ...

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None: ...


class Listener:
    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []

    def on_runtime_exit(self, code: int) -> None: ...

    def on_extension_failed(self, error_type: str, why: str) -> None:
        self.failures.append((error_type, why))


class Client:
    def __init__(self, *, telemetry: bool = True) -> None:
        self.listener = Listener()
        self.extensions = Extensions(FUNCTION, (), self.listener, LogStream(Sink(), "group", "stream"))
        self.api = ExtensionsApi(self.extensions, TextLog(), telemetry=telemetry)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse | None:
        """The answer, None where it is still to come."""
        named = [(f"Lambda-Extension-{name.replace('_', '-')}", value) for name, value in headers.items()]
        answers: list[HttpResponse] = []
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        self.api.handle(HttpRequest(method, path, headers=named, body=content), answers.append)
        return answers[0] if answers else None

    def refusal(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        answer = self.ask(method, path, body, **headers)
        assert answer is not None
        return answer.status, json.loads(answer.body)["errorType"]

    def register(self, name: str = "inside", events: Sequence[str] = ("INVOKE",)) -> str:
        answer = self.ask("POST", REGISTER, {"events": list(events)}, Name=name)
        assert answer is not None
        assert answer.status == 200
        return identity(answer)


def identity(answer: HttpResponse) -> str:
    return dict(answer.headers)["Lambda-Extension-Identifier"]


async def test_an_internal_extension_is_registered() -> None:
    client = Client()
    answer = client.ask("POST", REGISTER, {"events": ["INVOKE"]}, Name="inside")
    assert answer is not None
    assert json.loads(answer.body) == {"functionName": "fn", "functionVersion": "3", "handler": "app.handler"}
    assert len(identity(answer)) == 36


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        ({"events": []}, {}, "Extension.InvalidExtensionName"),
        (b"{", {"Name": "x"}, "InvalidRequestFormat"),
        ({"configurationKeys": ["a"]}, {"Name": "x"}, "InvalidRequestFormat"),
        ({"events": ["SLEEP"]}, {"Name": "x"}, "Extension.InvalidEventType"),
        ({"events": ["SHUTDOWN"]}, {"Name": "x"}, "Extension.InvalidEventType"),  # an internal one
    ],
)
async def test_a_registration_that_is_refused(body: Any, headers: dict[str, str], error: str) -> None:
    assert Client().refusal("POST", REGISTER, body, **headers) == (403, error)


async def test_a_name_is_registered_once_and_ten_at_most() -> None:
    client = Client()
    client.register("one")
    assert client.refusal("POST", REGISTER, {}, Name="one") == (403, "Extension.InvalidExtensionState")
    for number in range(9):
        client.register(f"more{number}")
    assert client.refusal("POST", REGISTER, {}, Name="eleventh") == (403, "Extension.TooManyExtensions")


async def test_after_init_nobody_registers_or_subscribes() -> None:
    client = Client()
    name = client.register()
    client.extensions.runtime_ready(lambda: None)
    client.extensions.init_over(TextLog(), 1.0, "ok", None)
    assert client.refusal("POST", REGISTER, {}, Name="late") == (403, "Extension.RegistrationClosed")
    assert client.refusal("PUT", TELEMETRY, {}, Identifier=name) == (403, "Telemetry.SubscriptionClosed")


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Extension.MissingExtensionIdentifier"),
        ({"Identifier": "no uuid"}, "Extension.InvalidExtensionIdentifier"),
        ({"Identifier": "00000000-0000-0000-0000-000000000000"}, "Extension.UnknownExtensionIdentifier"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", NEXT), ("PUT", TELEMETRY), ("PUT", "/2020-08-15/logs")])
async def test_who_is_not_known_is_told_so(method: str, path: str, headers: dict[str, str], error: str) -> None:
    assert Client().refusal(method, path, {}, **headers) == (403, error)


async def test_init_is_over_when_every_extension_has_asked_for_its_next_event() -> None:
    client = Client()
    names = [client.register(name) for name in ("one", "two")]
    done: list[bool] = []
    client.extensions.runtime_ready(lambda: done.append(True))
    assert client.ask("GET", NEXT, Identifier=names[0]) is None
    assert not done
    assert client.ask("GET", NEXT, Identifier=names[1]) is None
    assert done


@pytest.mark.parametrize(("verb", "error_type"), [("init", "Extension.InitError"), ("exit", "Extension.ExitError")])
async def test_an_error_that_is_reported(verb: str, error_type: str) -> None:
    client = Client()
    name = client.register()
    path = f"/2020-01-01/extension/{verb}/error"
    assert client.refusal("POST", path, {}, Identifier=name) == (403, "Extension.MissingHeader")
    answer = client.ask("POST", path, {}, Identifier=name, Function_Error_Type="Mine.Broken")
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (202, {"status": "OK"})
    assert client.refusal("GET", NEXT, Identifier=name) == (403, "Extension.InvalidExtensionState")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", REGISTER, (405, "MethodNotAllowed")),
        ("POST", NEXT, (405, "MethodNotAllowed")),
        ("GET", "/2020-01-01/extension/other", (404, "NotFound")),
    ],
)
async def test_paths_and_methods(method: str, path: str, expected: tuple[int, str]) -> None:
    assert Client().refusal(method, path) == expected


WISH = {
    "schemaVersion": "2022-12-13",
    "types": ["platform"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": "2021-01-01"},
        {"types": []},
        {"types": ["gossip"]},
        {"destination": {"protocol": "TCP", "URI": "http://sandbox:1/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://example.com:80/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:9001/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain/"}},
        {"buffering": {"timeoutMs": 10}},
        {"buffering": {"maxItems": 10}},
        {"buffering": {"maxBytes": 2_000_000}},
    ],
)
async def test_a_subscription_that_is_refused(change: dict[str, Any]) -> None:
    client = Client()
    name = client.register()
    assert client.refusal("PUT", TELEMETRY, {**WISH, **change}, Identifier=name) == (400, "ValidationError")


async def test_what_cannot_be_reached_or_is_not_built_is_answered_as_the_emulator_does() -> None:
    client = Client(telemetry=False)
    name = client.register()
    assert client.refusal("PUT", TELEMETRY, WISH, Identifier=name) == (202, "Telemetry.NotSupported")
    assert client.refusal("PUT", "/2020-08-15/logs", WISH, Identifier=name) == (202, "Logs.NotSupported")
