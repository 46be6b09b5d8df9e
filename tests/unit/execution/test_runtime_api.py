"""The Runtime API as any runtime meets it: driven over HTTP, with no runtime client of anybody's in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from preheat.execution.channel import Ready, Work
from preheat.execution.payloads import MAX_RESPONSE_BYTES
from preheat.execution.runtime_api import RuntimeApi, RuntimeApiTransport
from preheat.kernel.stream import ResponseStream

pytestmark = pytest.mark.anyio

ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
BASE = "/2018-06-01/runtime"
NEXT = f"{BASE}/invocation/next"
RESPONSE = f"{BASE}/invocation/{ID}/response"
ERROR = f"{BASE}/invocation/{ID}/error"
INIT_ERROR = f"{BASE}/init/error"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:fn"
OK = b'{"status":"OK"}\n'


@dataclass
class Listener:
    """Keeps what an environment would be told."""

    heard: list[tuple[str, bytes]] = field(default_factory=list)
    stream: ResponseStream | None = None

    def on_ready(self, ready: Ready) -> None:
        self.heard.append(("ready", b""))

    def on_stream(self, content_type: str) -> ResponseStream | None:
        if self.stream is not None:
            self.stream.begin(content_type, "$LATEST")
        return self.stream

    def on_response(self, body: bytes, peak_kib: int) -> None:
        self.heard.append(("response", body))

    def on_error(self, body: bytes, peak_kib: int) -> None:
        self.heard.append(("error", body))

    def on_init_error(self, body: bytes) -> None:
        self.heard.append(("init error", body))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["errorType"])


class Runtime:
    """A runtime's side: HTTP/1.1 over a socket of its own for each request."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{length}{headers}Connection: close\r\n\r\n"
        return await self.send(head.encode() + body)

    async def send(self, data: bytes, *, half_close: bool = False) -> Answer:
        """Raw bytes, and whatever comes back until the server closes."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            raw = await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(first.split()[1]), headers, body)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def api(listener: Listener) -> AsyncIterator[RuntimeApi]:
    opened = await RuntimeApiTransport().open(listener)
    yield opened
    opened.close()


@pytest.fixture
def runtime(api: RuntimeApi) -> Runtime:
    return Runtime(api.environ()["AWS_LAMBDA_RUNTIME_API"])


def work(request_id: str = ID, **changes: str) -> Work:
    optional = {"trace_id": "", "client_context": "", **changes}
    return Work(request_id=request_id, arn=ARN, deadline_ms=1_542_409_706_888, event=b'{"a": 1}', **optional)


async def invoked(api: RuntimeApi, runtime: Runtime) -> Answer:
    """One invocation, handed over to the runtime."""
    api.send(work())
    return await runtime.ask("GET", NEXT)


async def test_next_waits_for_an_event_and_then_has_awss_headers(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    asked = asyncio.create_task(runtime.ask("GET", NEXT))
    while not listener.heard:
        await asyncio.sleep(0)
    assert listener.heard == [("ready", b"")]
    assert not asked.done()
    api.send(work(trace_id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1", client_context='{"a":"b"}'))
    answer = await asked
    assert (answer.status, answer.body) == (200, b'{"a": 1}')
    assert answer.headers["content-type"] == "application/json"  # to the character: awslambdaric depends on it
    assert answer.headers["lambda-runtime-aws-request-id"] == ID
    assert answer.headers["lambda-runtime-deadline-ms"] == "1542409706888"
    assert answer.headers["lambda-runtime-invoked-function-arn"] == ARN
    assert answer.headers["lambda-runtime-trace-id"] == "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1"
    assert answer.headers["lambda-runtime-client-context"] == '{"a":"b"}'


async def test_empty_headers_of_next_are_omitted(api: RuntimeApi, runtime: Runtime) -> None:
    answer = await invoked(api, runtime)
    assert not {"lambda-runtime-trace-id", "lambda-runtime-client-context"} & set(answer.headers)
    assert "lambda-runtime-cognito-identity" not in answer.headers


async def test_init_is_over_at_the_first_next_only(api: RuntimeApi, runtime: Runtime, listener: Listener) -> None:
    await invoked(api, runtime)
    await runtime.ask("POST", RESPONSE, b"1")
    api.send(work("second"))
    await runtime.ask("GET", NEXT)
    assert [kind for kind, _ in listener.heard].count("ready") == 1


async def test_a_second_next_is_tolerated_and_gets_the_event(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    first = asyncio.create_task(runtime.ask("GET", NEXT))
    while not listener.heard:
        await asyncio.sleep(0)
    second = asyncio.create_task(runtime.ask("GET", NEXT))
    await first
    api.send(work())
    assert (await second).headers["lambda-runtime-aws-request-id"] == ID


@pytest.mark.parametrize(("path", "kind"), [(RESPONSE, "response"), (ERROR, "error")])
async def test_an_answer_is_accepted_once(
    api: RuntimeApi, runtime: Runtime, listener: Listener, path: str, kind: str
) -> None:
    await invoked(api, runtime)
    answer = await runtime.ask("POST", path, b'{"x": 1}')
    assert (answer.status, answer.body) == (202, OK)
    assert listener.heard[-1] == (kind, b'{"x": 1}')
    for again in (RESPONSE, ERROR):
        refused = await runtime.ask("POST", again, b"{}")
        assert (refused.status, refused.error) == (403, "InvalidStateTransition")
    assert len(listener.heard) == 2


async def test_a_chunked_response_is_one_body(api: RuntimeApi, runtime: Runtime, listener: Listener) -> None:
    await invoked(api, runtime)
    head = f"POST {RESPONSE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = await runtime.send(head.encode() + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert answer.status == 202
    assert listener.heard[-1] == ("response", b"abcde")


@pytest.mark.parametrize("verb", ["response", "error"])
@pytest.mark.parametrize("stale", ["unknown", "00000000-0000-0000-0000-000000000000"])
async def test_another_request_id_is_400(
    api: RuntimeApi, runtime: Runtime, listener: Listener, verb: str, stale: str
) -> None:
    await invoked(api, runtime)
    answer = await runtime.ask("POST", f"{BASE}/invocation/{stale}/{verb}", b"{}")
    assert (answer.status, answer.error) == (400, "InvalidRequestID")
    assert [kind for kind, _ in listener.heard] == ["ready"]
    assert (await runtime.ask("POST", RESPONSE, b"{}")).status == 202


async def test_an_answer_to_an_earlier_invocation_is_refused_and_changes_nothing(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    await invoked(api, runtime)
    await runtime.ask("POST", RESPONSE, b"1")
    for request_id in ("second", "third"):
        api.send(work(request_id))
        await runtime.ask("GET", NEXT)
        stale = await runtime.ask("POST", RESPONSE, b"stale")
        assert stale.status in (400, 403)
        assert (await runtime.ask("POST", f"{BASE}/invocation/{request_id}/response", b"own")).status == 202
    assert [body for kind, body in listener.heard if kind == "response"] == [b"1", b"own", b"own"]


async def test_an_answer_before_any_invocation_is_400(runtime: Runtime) -> None:
    answer = await runtime.ask("POST", RESPONSE, b"{}")
    assert (answer.status, answer.error) == (400, "InvalidRequestID")


async def test_init_error_is_accepted_before_the_first_next_only(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    body = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no"}'
    answer = await runtime.ask("POST", INIT_ERROR, body)
    assert (answer.status, answer.body) == (202, OK)
    assert listener.heard == [("init error", body)]
    await invoked(api, runtime)
    late = await runtime.ask("POST", INIT_ERROR, body)
    assert (late.status, late.error) == (403, "InvalidStateTransition")
    assert [kind for kind, _ in listener.heard] == ["init error", "ready"]


async def test_the_header_names_the_type_of_an_init_error(runtime: Runtime, listener: Listener) -> None:
    header = "Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError\r\n"
    await runtime.ask("POST", INIT_ERROR, b'{"errorType": "Unhandled", "errorMessage": "no"}', header)
    await runtime.ask("POST", INIT_ERROR, b"not JSON", header)
    (_, first), (_, second) = listener.heard
    assert json.loads(first) == {"errorType": "Runtime.ImportModuleError", "errorMessage": "no"}
    assert second == b"not JSON"


async def test_the_largest_response_passes_to_the_byte(api: RuntimeApi, runtime: Runtime, listener: Listener) -> None:
    assert MAX_RESPONSE_BYTES == 6_291_556
    await invoked(api, runtime)
    answer = await runtime.ask("POST", RESPONSE, bytes(MAX_RESPONSE_BYTES))
    assert answer.status == 202
    assert listener.heard[-1] == ("response", bytes(MAX_RESPONSE_BYTES))


@pytest.mark.parametrize("size", [MAX_RESPONSE_BYTES + 1, MAX_RESPONSE_BYTES + 10 * 2**20])
async def test_one_byte_more_is_413(api: RuntimeApi, runtime: Runtime, listener: Listener, size: int) -> None:
    await invoked(api, runtime)
    answer = await runtime.ask("POST", RESPONSE, bytes(size))
    assert (answer.status, answer.error) == (413, "RequestEntityTooLarge")
    kind, body = listener.heard[-1]
    assert (kind, len(body) > MAX_RESPONSE_BYTES) == ("response", True)  # so that the invocation does not hang


async def test_a_truncated_answer_is_400_and_never_half_a_response(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    await invoked(api, runtime)
    head = f"POST {RESPONSE} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    answer = await runtime.send(head.encode() + b"only this", half_close=True)
    assert answer.status == 400
    assert [kind for kind, _ in listener.heard] == ["ready"]
    assert (await runtime.ask("POST", RESPONSE, b"whole")).status == 202


async def test_an_x_ray_cause_of_a_megabyte_fits_into_a_header(
    api: RuntimeApi, runtime: Runtime, listener: Listener
) -> None:
    await invoked(api, runtime)
    cause = f"lambda-runtime-function-xray-error-cause: {'x' * 2**20}\r\n"
    assert (await runtime.ask("POST", ERROR, b"{}", cause)).status == 202
    assert listener.heard[-1] == ("error", b"{}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("GET", "/", 404),
        ("GET", "/2018-06-01/runtime", 404),
        ("GET", f"{BASE}/invocation/{ID}/other", 404),
        ("POST", f"{BASE}/invocation/{ID}/response/more", 404),
        ("GET", "/2015-03-31/functions/fn/invocations", 404),
        ("POST", NEXT, 405),
        ("GET", RESPONSE, 405),
        ("PUT", ERROR, 405),
        ("GET", INIT_ERROR, 405),
    ],
)
async def test_paths_and_methods(runtime: Runtime, listener: Listener, method: str, path: str, status: int) -> None:
    assert (await runtime.ask(method, path)).status == status
    assert listener.heard == []


async def test_two_environments_do_not_hear_each_other(listener: Listener) -> None:
    mine, theirs = Listener(), Listener()
    first, second = await RuntimeApiTransport().open(mine), await RuntimeApiTransport().open(theirs)
    try:
        addresses = [one.environ()["AWS_LAMBDA_RUNTIME_API"] for one in (first, second)]
        assert len(set(addresses)) == 2
        await invoked(first, Runtime(addresses[0]))
        assert (await Runtime(addresses[1]).ask("POST", RESPONSE, b"{}")).status == 400
        assert theirs.heard == []
    finally:
        first.close()
        second.close()


async def test_after_close_nothing_is_heard(api: RuntimeApi, runtime: Runtime, listener: Listener) -> None:
    api.close()
    with pytest.raises(ConnectionRefusedError):
        await runtime.ask("GET", NEXT)
    assert listener.heard == []
