"""Invoke, by dicts and by HTTP: the same checks, the same errors, the documented headers."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, creation, provider_in

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.lambda_.invocations import check_json, new_request_id, new_trace_id

NAMED = {"FunctionName": "iris"}


def post(body: bytes = b"{}", query: str = "", **headers: str) -> HttpRequest:
    spelt = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpRequest("POST", "/2015-03-31/functions/iris/invocations", query, spelt, body, received_ns=7)


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name), None)


def test_the_answer_by_http(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            answer = await provider.invoke_http(post(b'{"a": 1}', X_Amz_Log_Type="Tail"), "iris")
            (function, invocation) = invoker.asked[0]
            assert answer.status == 200
            assert answer.body == b'{"ok": true}'
            assert header(answer, "content-type") == "application/json"
            assert header(answer, "x-amz-executed-version") == "$LATEST"
            assert header(answer, "x-amzn-requestid") == invocation.request_id
            assert base64.b64decode(header(answer, "x-amz-log-result") or "") == b"the tail\n"
            assert header(answer, "x-amz-function-error") is None
            assert (function.name, invocation.payload, invocation.received_ns) == ("iris", b'{"a": 1}', 7)
            assert invocation.invoked_arn == f"{ARN}iris"
            assert invocation.trace_id.startswith("Root=1-")

    asyncio.run(scenario())


def test_the_answer_by_dicts_is_the_same(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    invoker.answer = lambda function, invocation: InvokeResult(
        b'{"errorType": "ValueError"}', "Unhandled", function.version, invocation.request_id, b"log"
    )

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            answer = await provider.invoke(CONTEXT, {**NAMED, "Payload": b"[]", "LogType": "Tail"})
            assert answer == {
                "StatusCode": 200,
                "ExecutedVersion": "$LATEST",
                "Payload": b'{"errorType": "ValueError"}',
                "FunctionError": "Unhandled",
                "LogResult": base64.b64encode(b"log").decode(),
            }
            assert invoker.asked[0][1].request_id == CONTEXT.request_id
            by_http = await provider.invoke_http(post(), "iris")
            assert header(by_http, "x-amz-function-error") == "Unhandled"
            assert header(by_http, "x-amz-log-result") is None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("identifier", "request_", "status", "code", "message"),
    [
        (
            "rose",
            post(),
            404,
            "ResourceNotFoundException",
            f"Function not found: {ARN}rose:$LATEST",
        ),
        (
            "iris",
            post(query="Qualifier=7"),
            404,
            "ResourceNotFoundException",
            f"Function not found: {ARN}iris:7",
        ),
        (
            "iris",
            post(b" " * 6_291_457),
            413,
            "RequestEntityTooLargeException",
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        ),
        (
            "iris",
            post(b'{"a": nope}'),
            400,
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payload into json: Unrecognized token 'nope': was "
            "expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n"
            ' at [Source: (byte[])"{"a": nope}"; line: 1, column: 12]',
        ),
        (
            "iris",
            post(X_Amz_Invocation_Type="Sometimes"),
            400,
            "ValidationException",
            "1 validation error detected: Value 'Sometimes' at 'invocationType' failed to satisfy constraint: Member "
            "must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
        (
            "iris",
            post(X_Amz_Log_Type="Head"),
            400,
            "ValidationException",
            "1 validation error detected: Value 'Head' at 'logType' failed to satisfy constraint: Member must satisfy "
            "enum value set: [None, Tail]",
        ),
        (
            "iris",
            post(b'"' + b" " * 1_048_575 + b'"', X_Amz_Invocation_Type="Event"),
            413,
            "RequestEntityTooLargeException",
            "Request must be smaller than 1048576 bytes for the InvokeFunction operation",
        ),
        (
            "iris",
            post(X_Amz_Client_Context="not base64!"),
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ),
    ],
)
def test_what_never_reaches_the_function(
    tmp_path: Path, identifier: str, request_: HttpRequest, status: int, code: str, message: str
) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            answer = await provider.invoke_http(request_, identifier)
            body = json.loads(answer.body)
            assert answer.status == status
            assert header(answer, "x-amzn-errortype") == code
            assert len(header(answer, "x-amzn-requestid") or "") == 36
            assert body.get("Message", body.get("message")) == message
            assert body["Type"] == ("User" if status < 500 else "Service")
            assert invoker.asked == []

    asyncio.run(scenario())


def test_the_largest_payload_passes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            largest = b'"' + b"x" * (6_291_456 - 2) + b'"'
            assert (await provider.invoke_http(post(largest), "iris")).status == 200

    asyncio.run(scenario())


def test_a_pending_function_is_a_conflict(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await provider.create_function(CONTEXT, creation())
            answer = await provider.invoke_http(post(), "iris")
            assert (answer.status, header(answer, "x-amzn-errortype")) == (409, "ResourceConflictException")
            assert b"The function is currently in the following state: Pending" in answer.body
            await provider.settled()
            assert (await provider.invoke_http(post(), "iris")).status == 200

    asyncio.run(scenario())


def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            answer = await provider.invoke_http(post(X_Amz_Invocation_Type="DryRun"), "iris")
            assert (answer.status, answer.body) == (204, b"")
            assert await provider.invoke(CONTEXT, {**NAMED, "InvocationType": "DryRun"}) == {"StatusCode": 204}
            assert invoker.asked == []

    asyncio.run(scenario())


def test_no_payload_is_an_empty_object_and_arns_may_be_percent_encoded(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            encoded = f"{ARN}iris:$LATEST".replace(":", "%3A").replace("$", "%24")
            assert (await provider.invoke_http(post(b""), encoded)).status == 200
            assert invoker.asked[0][1].payload == b"{}"
            assert invoker.asked[0][1].invoked_arn == f"{ARN}iris:$LATEST"

    asyncio.run(scenario())


def test_client_context_and_trace_header_reach_the_function(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    context = base64.b64encode('{"custom":\n{"who": "é"}}'.encode()).decode()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await provider.invoke_http(post(x_amz_client_context=context, X_AMZN_TRACE_ID="Root=1-a-b"), "iris")
            invocation = invoker.asked[0][1]
            assert json.loads(invocation.client_context) == {"custom": {"who": "é"}}
            assert invocation.client_context.isascii()
            assert "\n" not in invocation.client_context
            assert invocation.trace_id == "Root=1-a-b"

    asyncio.run(scenario())


def test_a_throttle_keeps_its_reason_and_an_unexpected_failure_is_a_500(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    errors: list[Exception] = [
        AwsError(
            "TooManyRequestsException",
            "Rate Exceeded.",
            429,
            fields={"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"},
        ),
        RuntimeError("a bug"),
    ]

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

        def fail(function: object, invocation: object) -> InvokeResult:
            raise errors.pop(0)

        invoker.answer = fail
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            throttled = await provider.invoke_http(post(), "iris")
            assert throttled.status == 429
            assert json.loads(throttled.body)["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
            broken = await provider.invoke_http(post(), "iris")
            assert (broken.status, header(broken, "x-amzn-errortype")) == (500, "ServiceException")
            assert b"a bug" not in broken.body

    asyncio.run(scenario())


def test_a_client_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    class SlowInvoker(FakeInvoker):
        def invoke(self, function, invocation):  # type: ignore[no-untyped-def]
            self.pending = asyncio.get_running_loop().create_future()
            return self.pending

    invoker = SlowInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            by_http = provider.invoke_http(post(), "iris")
            by_http.cancel()
            assert not invoker.pending.cancelled()
            invoker.pending.set_result(InvokeResult(b"1", None, "$LATEST", "id"))
            call = asyncio.ensure_future(provider.invoke(CONTEXT, NAMED))
            while len(asyncio.all_tasks()) < 2 or not hasattr(invoker, "pending") or invoker.pending.done():
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert not invoker.pending.cancelled()

    asyncio.run(scenario())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans())
def test_every_json_value_is_accepted(value: object, ascii_only: bool) -> None:
    check_json(json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace"))


@given(st.binary(max_size=40))
def test_bytes_are_accepted_exactly_if_they_are_strict_json(payload: bytes) -> None:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(payload.decode(), parse_constant=no_constant)
        valid = True
    except ValueError:
        valid = payload == b""
    try:
        check_json(payload)
        accepted = True
    except AwsError:
        accepted = False
    assert accepted == valid


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"NaN", "Unrecognized token 'NaN'"),
        (b'"\xff"', "Invalid UTF-8 start byte 0xff"),
        (b'{"a": 1', "Unexpected end-of-input"),
        (b"{'a': 1}", "Unexpected character (''' (code 39))"),
        (b"[" * 100_000, "nesting depth"),
    ],
)
def test_bad_json_is_placed(payload: bytes, message: str) -> None:
    with pytest.raises(AwsError) as error:
        check_json(payload)
    assert message in error.value.message


def test_request_ids_are_random_uuids_and_traces_are_xrays() -> None:
    ids = {new_request_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 for text in ids)
    root, parent, sampled = new_trace_id(ids.pop()).split(";")
    version, seconds, unique = root.removeprefix("Root=").split("-")
    assert (version, len(seconds), len(unique), len(parent), sampled) == ("1", 8, 24, 23, "Sampled=0")
