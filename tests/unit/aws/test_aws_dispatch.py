"""The dispatcher as boto3 sees it: boto3's whole pipeline runs, only the socket is replaced."""

import asyncio
import io
import logging
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.aws.context import OperationContext
from preheat.aws.dispatch import Dispatcher, method_name
from preheat.aws.model import load_service
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse

FORM = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
THROTTLE = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "retryAfterSeconds": "1"}


class LambdaProvider:
    def __init__(self) -> None:
        self.contexts: list[OperationContext] = []

    def get_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self.contexts.append(context)
        name = params["FunctionName"]
        if name == "missing":
            raise AwsError("ResourceNotFoundException", "Function not found: missing", 404)
        return {"Configuration": {"FunctionName": name, "Timeout": 3, "Description": None}}

    async def list_functions(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        start = int(params.get("Marker", "0"))
        return {"Functions": [{"FunctionName": f"f{start}"}], "NextMarker": str(start + 1) if start < 2 else None}

    def invoke(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        if params["FunctionName"] == "busy":
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields=THROTTLE)
        status = 204 if params.get("InvocationType") == "DryRun" else 200
        return {"StatusCode": status, "Payload": params.get("Payload", b""), "FunctionError": None}

    def delete_function(self, context: OperationContext, params: dict[str, Any]) -> None:
        raise RuntimeError("a fault of the provider")

    def get_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"NoSuchMember": 1}


class LogsProvider:
    def describe_log_groups(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("logGroupNamePrefix") == "none":
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return {"logGroups": [{"logGroupName": params["logGroupNamePrefix"], "creationTime": 1}]}


class StsProvider:
    def get_caller_identity(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"Account": context.account_id, "UserId": context.access_key_id, "Arn": "arn:aws:iam::0:root"}


class IamProvider:
    def get_role(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("NoSuchEntity", "The role with name <x> cannot be found.")


@pytest.fixture
def provider() -> LambdaProvider:
    return LambdaProvider()


@pytest.fixture
def dispatcher(provider: LambdaProvider) -> Dispatcher:
    providers = {"lambda": provider, "logs": LogsProvider(), "sts": StsProvider(), "iam": IamProvider()}
    return Dispatcher(providers, region="us-east-1", account_id="000000000000")


def ask(dispatcher: Dispatcher, request: HttpRequest) -> HttpResponse:
    return asyncio.run(dispatcher.handle(request))


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return [self.read()]


def client(dispatcher: Dispatcher, service: str) -> Any:
    def send(request: Any, **_: Any) -> AWSResponse:
        url = request.url.removeprefix("http://localhost:4566")
        path, _, query = url.partition("?")
        headers = [(name, v if isinstance(v, str) else v.decode()) for name, v in request.headers.items()]
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = ask(dispatcher, HttpRequest(request.method, path, query, headers, body))
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    made = boto3.client(
        service,
        endpoint_url="http://localhost:4566",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    made.meta.events.register("before-send", send)
    return made


def refused(call: Any, **params: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response


def test_result_and_context(dispatcher: Dispatcher, provider: LambdaProvider) -> None:
    answer = client(dispatcher, "lambda").get_function(FunctionName="iris")
    assert answer["Configuration"] == {"FunctionName": "iris", "Timeout": 3}
    (context,) = provider.contexts
    assert (context.service, context.operation, context.region) == ("lambda", "GetFunction", "us-east-1")
    assert (context.account_id, context.access_key_id) == ("000000000000", "test")
    assert context.request_id == answer["ResponseMetadata"]["RequestId"]
    assert context.http.path == "/2015-03-31/functions/iris"


def test_coroutine_providers_and_paginators(dispatcher: Dispatcher) -> None:
    pages = client(dispatcher, "lambda").get_paginator("list_functions").paginate()
    assert [function["FunctionName"] for page in pages for function in page["Functions"]] == ["f0", "f1", "f2"]


def test_payload_and_status_bindings(dispatcher: Dispatcher) -> None:
    lambda_ = client(dispatcher, "lambda")
    answer = lambda_.invoke(FunctionName="iris", Payload=b'{"x":1}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (200, b'{"x":1}')
    assert "FunctionError" not in answer
    assert lambda_.invoke(FunctionName="iris", InvocationType="DryRun")["StatusCode"] == 204


def test_lambda_error_carries_type_and_message(dispatcher: Dispatcher) -> None:
    path = "/2015-03-31/functions/missing"
    answer = ask(dispatcher, HttpRequest("GET", path))
    assert answer.status == 404
    assert answer.body == b'{"Type":"User","Message":"Function not found: missing"}'
    assert ("x-amzn-ErrorType", "ResourceNotFoundException") in answer.headers


def test_lambda_error_fields_and_headers(dispatcher: Dispatcher) -> None:
    response = refused(client(dispatcher, "lambda").invoke, FunctionName="busy")
    assert response["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert (response["Type"], response["Reason"]) == ("User", "ReservedFunctionConcurrentInvocationLimitExceeded")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


def test_json_error(dispatcher: Dispatcher) -> None:
    logs = client(dispatcher, "logs")
    assert logs.describe_log_groups(logGroupNamePrefix="/a")["logGroups"][0]["creationTime"] == 1
    response = refused(logs.describe_log_groups, logGroupNamePrefix="none")
    assert response["Error"]["Code"] == "ResourceNotFoundException"
    assert response["Error"]["Message"] == "The specified log group does not exist."


def test_query_result_and_error(dispatcher: Dispatcher) -> None:
    answer = client(dispatcher, "sts").get_caller_identity()
    assert (answer["Account"], answer["UserId"]) == ("000000000000", "test")
    response = refused(client(dispatcher, "iam").get_role, RoleName="x")
    assert response["Error"] == {
        "Type": "Sender",
        "Code": "NoSuchEntity",
        "Message": "The role with name <x> cannot be found.",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 404  # as the model has it
    assert response["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("service", "call", "params"),
    [
        ("lambda", "list_layers", {}),
        ("logs", "create_log_group", {"logGroupName": "a"}),
        ("iam", "list_users", {}),
        ("s3", "list_buckets", {}),
        ("sqs", "list_queues", {}),
        ("apigateway", "get_rest_apis", {}),
    ],
)
def test_what_is_not_built_says_so(dispatcher: Dispatcher, service: str, call: str, params: dict[str, Any]) -> None:
    response = refused(getattr(client(dispatcher, service), call), **params)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert response["Error"]["Code"] == "NotImplementedException"
    assert "is not built in preheat" in response["Error"]["Message"]
    assert service in response["Error"]["Message"]


@pytest.mark.parametrize("call", ["delete_function", "get_policy"])
def test_a_providers_fault_is_answered_and_logged(
    dispatcher: Dispatcher, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = refused(getattr(client(dispatcher, "lambda"), call), FunctionName="iris")
    assert response["Error"]["Code"] == "ServiceException"
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Type"]) == (500, "Service")
    (record,) = caplog.records
    assert response["ResponseMetadata"]["RequestId"] in record.getMessage()
    assert record.exc_info is not None


def test_unsigned_requests_are_recognised(dispatcher: Dispatcher) -> None:
    target = [("X-Amz-Target", "Logs_20140328.DescribeLogGroups")]
    by_target = ask(dispatcher, HttpRequest("POST", "/", headers=target, body=b'{"logGroupNamePrefix":"/a"}'))
    by_path = ask(dispatcher, HttpRequest("GET", "/2015-03-31/functions/"))
    by_action = ask(
        dispatcher, HttpRequest("POST", "/", headers=FORM, body=b"Action=GetCallerIdentity&Version=2011-06-15")
    )
    by_query = ask(dispatcher, HttpRequest("GET", "/", "Action=GetCallerIdentity&Version=2011-06-15"))
    assert [by_target.status, by_path.status, by_action.status, by_query.status] == [200, 200, 200, 200]
    assert by_action.body.startswith(b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">')


def test_a_presigned_url_names_its_service(dispatcher: Dispatcher) -> None:
    query = (
        "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fsts%2Faws4_request"
    )
    assert b"<UserId>AK</UserId>" in ask(dispatcher, HttpRequest("GET", "/", query)).body


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (HttpRequest("GET", "/nowhere"), 403, "MissingAuthenticationTokenException"),
        (HttpRequest("POST", "/", headers=[("X-Amz-Target", "Nobody.Do")]), 403, "MissingAuthenticationTokenException"),
        (HttpRequest("POST", "/", headers=FORM, body=b"Action=Nope"), 403, "MissingAuthenticationTokenException"),
        (HttpRequest("POST", "/", headers=FORM, body=b"\xff\xfe"), 400, "SerializationException"),
        (HttpRequest("POST", "/", headers=[("X-Amz-Target", "Logs_20140328.Nope")]), 400, "UnknownOperationException"),
        (HttpRequest("GET", "/2015-03-31/functions/a%00b"), 400, "ValidationException"),
        (HttpRequest("GET", "/2015-03-31/functions/%2e%2e%2fetc"), 400, "ValidationException"),
    ],
)
def test_what_cannot_be_served(dispatcher: Dispatcher, request_: HttpRequest, status: int, code: str) -> None:
    answer = ask(dispatcher, request_)
    headers = dict(answer.headers)
    assert (answer.status, headers["x-amzn-ErrorType"]) == (status, code)
    assert len(headers["x-amzn-RequestId"]) == 36


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Could not parse request body into json"),
        (b"[]", "Start of list found where not expected"),
        (b'{"logGroupNamePrefix": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"limit": "x"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"limit": {}}', "Start of structure or map found where not expected."),
        (b"[" * 100_000, "Could not parse request body into json"),
    ],
)
def test_malformed_json(dispatcher: Dispatcher, body: bytes, message: str) -> None:
    target = [("X-Amz-Target", "Logs_20140328.DescribeLogGroups")]
    answer = ask(dispatcher, HttpRequest("POST", "/", headers=target, body=body))
    assert answer.status == 400
    assert b'"__type":"SerializationException"' in answer.body
    assert message.encode() in answer.body


SIGNED = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


class RestApis:
    def put_integration(self, context: Any, params: dict[str, Any]) -> dict[str, Any]:
        return {"requestTemplates": params["requestTemplates"]}


@pytest.mark.parametrize(
    ("templates", "status", "part"),
    [
        ('{"application/json": null}', 201, '"requestTemplates":{"application/json":null}'),
        ('{"application/json": true}', 400, "class java.lang.Boolean can not be converted to an String"),
        ('"text"', 400, "STRING_VALUE can not be converted to a map"),
    ],
)
def test_api_gateways_own_words_for_a_wrong_type(templates: str, status: int, part: str) -> None:
    """Recorded in localstack's test_put_integration_request_parameter_bool_type."""
    dispatcher = Dispatcher({"apigateway": RestApis()}, region="us-east-1", account_id="000000000000")
    signature = ("Authorization", SIGNED.format("apigateway"))
    body = f'{{"type": "MOCK", "requestTemplates": {templates}}}'.encode()
    path = "/restapis/a/resources/r/methods/GET/integration"
    answer = ask(dispatcher, HttpRequest("PUT", path, headers=[signature], body=body))
    assert (answer.status, part in answer.body.decode()) == (status, True)


TARGETS = ("Logs_20140328.DescribeLogGroups", "Logs_20140328", "", ".")
PATHS = ("/", "/2015-03-31/functions", "/2015-03-31/functions/%F0%9F/invocations", "/2015-03-31/functions/a/policy")
BODIES = (b'{"logGroupNamePrefix":"\\ud800"}', b"Action=GetRole&RoleName=%FF", b"Action=GetRole&RoleName.member.1=x")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    path=st.sampled_from(PATHS) | st.text(st.characters(codec="ascii"), max_size=20),
    query=st.text(st.characters(codec="ascii"), max_size=20),
    headers=st.dictionaries(
        st.sampled_from(("Authorization", "X-Amz-Target", "Content-Type")),
        st.sampled_from([SIGNED.format(name) for name in ("lambda", "logs", "iam", "s3", "")])
        | st.sampled_from((*TARGETS, FORM[0][1]))
        | st.text(st.characters(codec="latin-1"), max_size=20),
    ),
    body=st.sampled_from(BODIES) | st.binary(max_size=30),
)
def test_always_answers(
    dispatcher: Dispatcher, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    answer = ask(dispatcher, HttpRequest(method, path, query, list(headers.items()), body))
    assert 200 <= answer.status < 600
    assert dict(answer.headers)["x-amzn-RequestId"]
    assert not any("\r" in text or "\n" in text for header in answer.headers for text in header)


@pytest.mark.parametrize("service", ["lambda", "apigateway", "logs", "sts", "iam", "ecr"])
def test_method_names_are_boto3s(service: str) -> None:
    model = load_service(service)
    theirs = boto3.client(service, region_name="us-east-1").meta.method_to_api_mapping
    assert {method_name(name) for name in model.operations} == set(theirs)
