"""FIDELITY.md's rows on the Lambda API, one case each, as HTTP: status, error type, body to the letter.

A case's id is the row it holds the service to ("Invoke API", "Limits and scaling", "Faults").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, creation, provider_in

from preheat.aws.dispatch import Dispatcher
from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse

FUNCTIONS = "/2015-03-31/functions"
INVOKE = f"{FUNCTIONS}/iris/invocations"
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:l"


class Service:
    """One function, iris, with version 1 and alias prod, behind the real wire."""

    def __init__(self, provider: Any, invoker: FakeInvoker) -> None:
        self.provider = provider
        self.invoker = invoker
        self._dispatcher = Dispatcher({"lambda": provider}, region="us-east-1", account_id="000000000000")

    async def send(
        self, method: str, path: str, body: bytes | dict[str, Any] = b"", **headers: str
    ) -> tuple[HttpResponse, Any]:
        """(response, its JSON or None). Invocations go the front's way, everything else through the dispatcher."""
        path, _, query = path.partition("?")
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        spelt = [(name.replace("_", "-"), value) for name, value in headers.items()]
        request = HttpRequest(method, path, query, [("Host", "localhost:4566"), *spelt], data)
        if path.endswith("/invocations"):
            response = await self.provider.invoke_http(request, path.split("/")[3])
        else:
            response = await self._dispatcher.handle(request)
        return response, json.loads(response.body) if response.body else None

    def rate_exceeded(self, reason: str) -> None:
        def answer(function: object, invocation: object) -> InvokeResult:
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": reason})

        self.invoker.answer = answer


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name), None)


def serve(tmp_path: Path, scenario: Callable[[Service], Any]) -> None:
    async def run() -> None:
        invoker = FakeInvoker()
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            provider.publish_version(CONTEXT, {"FunctionName": "iris"})
            provider.create_alias(CONTEXT, {"FunctionName": "iris", "Name": "prod", "FunctionVersion": "1"})
            await scenario(Service(provider, invoker))

    asyncio.run(run())


@dataclass(frozen=True)
class Row:
    """A request and AWS's refusal of it."""

    row: str
    method: str
    path: str
    status: int
    code: str
    message: str
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str | None = "User"


BIG = "x" * 5000
ROWS = [
    Row(
        "Invoke API: bad JSON",
        "POST",
        INVOKE,
        400,
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: Unexpected end-of-input\n"
        ' at [Source: (byte[])"{"; line: 1, column: 2]',
        b"{",
    ),
    Row(
        "Invoke API: too large",
        "POST",
        INVOKE,
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        b"1" * 6_291_457,
    ),
    Row(
        "Invoke API: missing, on invoke",
        "POST",
        f"{FUNCTIONS}/rose/invocations",
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}rose:$LATEST",
    ),
    Row(
        "Invoke API: missing, on get",
        "GET",
        f"{FUNCTIONS}/rose",
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}rose",
    ),
    Row(
        "Invoke API: missing, on delete",
        "DELETE",
        f"{FUNCTIONS}/rose",
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}rose",
    ),
    Row(
        "Invoke API: missing version, on invoke",
        "POST",
        f"{INVOKE}?Qualifier=9",
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}iris:9",
    ),
    Row(
        "Invoke API: words of a missing EventInvokeConfig",
        "GET",
        "/2019-09-25/functions/iris/event-invoke-config",
        404,
        "ResourceNotFoundException",
        f"The function {ARN}iris:$LATEST doesn't have an EventInvokeConfig",
    ),
    Row(
        "Invoke API: words of a missing function URL config",
        "GET",
        "/2021-10-31/functions/iris/url",
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    ),
    Row(
        "Limits: async payload 1 MB",
        "POST",
        INVOKE,
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 1048576 bytes for the InvokeFunction operation",
        b"1" * 1_048_577,
        {"X_Amz_Invocation_Type": "Event"},
    ),
    Row(
        "Limits: environment variables 4 KB",
        "PUT",
        f"{FUNCTIONS}/iris/configuration",
        400,
        "InvalidParameterValueException",
        "Lambda was unable to configure your environment variables because the environment variables you have "
        f'provided exceeded the 4KB limit. String measured: {{"KEY":"{BIG}"}}',
        {"Environment": {"Variables": {"KEY": BIG}}},
    ),
    *(
        Row(
            f"Limits: {member} {value}",
            "PUT",
            f"{FUNCTIONS}/iris/configuration",
            400,
            "ValidationException",
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
            f"Member must have value {bound}",
            body,
        )
        for member, value, bound, body in (
            ("timeout", 901, "less than or equal to 900", {"Timeout": 901}),
            ("memorySize", 127, "greater than or equal to 128", {"MemorySize": 127}),
            ("memorySize", 10_241, "less than or equal to 10240", {"MemorySize": 10_241}),
            ("ephemeralStorage.size", 511, "greater than or equal to 512", {"EphemeralStorage": {"Size": 511}}),
            ("ephemeralStorage.size", 10_241, "less than or equal to 10240", {"EphemeralStorage": {"Size": 10_241}}),
        )
    ),
    Row(
        "Limits: five layers",
        "PUT",
        f"{FUNCTIONS}/iris/configuration",
        400,
        "InvalidParameterValueException",
        "Cannot reference more than 5 layers.",
        {"Layers": [f"{LAYER}{number}:1" for number in range(6)]},
    ),
    Row(
        "Limits: zip size",
        "PUT",
        f"{FUNCTIONS}/iris/code",
        413,
        "RequestEntityTooLargeException",
        "Zipped size must be smaller than 52428800 bytes",
        b'{"ZipFile": "' + b"AAAA" * 17_476_268 + b'"}',
    ),
    Row(
        "Limits: reserved concurrency leaves 100",
        "PUT",
        "/2017-10-31/functions/iris/concurrency",
        400,
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100].",
        {"ReservedConcurrentExecutions": 901},
        fault=None,
    ),
    Row(
        "Invoke API: missing, on PutFunctionConcurrency",
        "PUT",
        "/2017-10-31/functions/rose/concurrency",
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}rose:$LATEST",
        {"ReservedConcurrentExecutions": 1},
    ),
    Row(
        "Limits: provisioned, not on $LATEST",
        "PUT",
        "/2019-09-30/functions/iris/provisioned-concurrency?Qualifier=%24LATEST",
        400,
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        {"ProvisionedConcurrentExecutions": 1},
    ),
    Row(
        "Limits: an alias has at most one additional weighted version",
        "PUT",
        f"{FUNCTIONS}/iris/aliases/prod",
        400,
        "InvalidParameterValueException",
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
        {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1, "3": 0.1}}},
    ),
    Row(
        "Invoke API: a name that cannot be one",
        "POST",
        f"{FUNCTIONS}/%3Ciris%3E/invocations",
        400,
        "ValidationException",
        "1 validation error detected: Value '<iris>' at 'functionName' failed to satisfy constraint: Member must "
        r"satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?"
        r"-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?",
        b"{}",
    ),
    Row(
        "Invoke API: a name that is none",
        "GET",
        "/2015-03-31/functions/iris/aliases/nope",
        404,
        "ResourceNotFoundException",
        f"Cannot find alias arn: {ARN}iris:nope",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.row)
def test_a_refusal(tmp_path: Path, row: Row) -> None:
    async def scenario(service: Service) -> None:
        response, body = await service.send(row.method, row.path, row.body, **row.headers)
        assert (response.status, header(response, "x-amzn-errortype")) == (row.status, row.code)
        assert body.get("Message", body.get("message")) == row.message
        if row.code != "ValidationException":
            assert body.get("Type") == row.fault
        assert service.invoker.asked == []

    serve(tmp_path, scenario)


def test_invoke_api_success_error_event_dry_run(tmp_path: Path) -> None:
    """Row: RequestResponse 200, Event 202 empty, DryRun 204; response headers."""

    async def scenario(service: Service) -> None:
        response, body = await service.send("POST", f"{INVOKE}?Qualifier=prod", b"{}", X_Amz_Log_Type="Tail")
        assert (response.status, body) == (200, {"ok": True})
        assert header(response, "x-amz-executed-version") == "1"
        assert header(response, "x-amz-log-result") == "dGhlIHRhaWwK"
        assert header(response, "x-amz-function-error") is None
        for kind, status in (("Event", 202), ("DryRun", 204)):
            response, body = await service.send("POST", INVOKE, b"{}", X_Amz_Invocation_Type=kind)
            assert (response.status, response.body) == (status, b"")
        service.invoker.answer = lambda function, invocation: InvokeResult(
            b'{"errorMessage": "x"}', "Unhandled", function.version, invocation.request_id
        )
        response, _ = await service.send("POST", INVOKE, b"{}")
        assert (response.status, header(response, "x-amz-function-error")) == (200, "Unhandled")

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    "reason", ["ReservedFunctionConcurrentInvocationLimitExceeded", "ConcurrentInvocationLimitExceeded"]
)
def test_invoke_api_throttle(tmp_path: Path, reason: str) -> None:
    """Row: throttle 429 with its Reason."""

    async def scenario(service: Service) -> None:
        service.rate_exceeded(reason)
        response, body = await service.send("POST", INVOKE, b"{}")
        assert (response.status, header(response, "x-amzn-errortype")) == (429, "TooManyRequestsException")
        assert (body["Reason"], body.get("Message", body.get("message"))) == (reason, "Rate Exceeded.")

    serve(tmp_path, scenario)


def test_invoke_api_pending(tmp_path: Path) -> None:
    """Row: Pending 409."""

    async def scenario(service: Service) -> None:
        await service.provider.create_function(CONTEXT, creation("new"))
        response, body = await service.send("POST", f"{FUNCTIONS}/new/invocations", b"{}")
        assert (response.status, body["Type"]) == (409, "User")
        assert body["message"] == (
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )

    serve(tmp_path, scenario)


def test_provisioned_is_accepted_with_202_in_progress(tmp_path: Path) -> None:
    """Row: provisioned, at most reserved, IN_PROGRESS (202) then READY."""

    async def scenario(service: Service) -> None:
        path = "/2019-09-30/functions/iris/provisioned-concurrency?Qualifier=1"
        response, body = await service.send("PUT", path, {"ProvisionedConcurrentExecutions": 2})
        assert (response.status, body["Status"]) == (202, "IN_PROGRESS")
        response, body = await service.send("GET", path)
        assert (response.status, body["Status"], body["AvailableProvisionedConcurrentExecutions"]) == (200, "READY", 2)
        put = "/2017-10-31/functions/iris/concurrency"
        response, _ = await service.send("PUT", put, {"ReservedConcurrentExecutions": 2})
        response, body = await service.send("PUT", path, {"ProvisionedConcurrentExecutions": 3})
        assert body["message"] == (
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
        )

    serve(tmp_path, scenario)


def test_fault_15_fifty_creates_and_deletes_of_one_name(tmp_path: Path) -> None:
    """Row: one 201 at a time, others 409, no orphans."""

    async def scenario(service: Service) -> None:
        async def delete() -> dict[str, Any]:
            await asyncio.sleep(0)
            deleted: dict[str, Any] = service.provider.delete_function(CONTEXT, {"FunctionName": "rose"})
            return deleted

        calls = [
            delete() if number % 2 else service.provider.create_function(CONTEXT, creation("rose", Publish=True))
            for number in range(100)
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, AwsError)]
        assert {error.status for error in refused} <= {404, 409}
        made = sum("FunctionArn" in result for result in results if isinstance(result, dict))
        gone = sum("StatusCode" in result for result in results if isinstance(result, dict))
        assert made >= 1
        assert len(refused) + made + gone == 100
        await service.provider.settled()
        names = [each["FunctionName"] for each in service.provider.list_functions(CONTEXT, {})["Functions"]]
        assert ("rose" in names) == (made == gone + 1)
        if "rose" in names:
            service.provider.delete_function(CONTEXT, {"FunctionName": "rose"})
        assert [v.name for v in service.invoker.retired].count("rose") % 2 == 0, "$LATEST and version 1 together"
        kept = {service.provider.resolve("iris").code_dir.rpartition("/")[2]}
        await service.provider.collect()
        assert {path.name.partition(".")[0] for path in (tmp_path / "code").iterdir()} == kept

    serve(tmp_path, scenario)
