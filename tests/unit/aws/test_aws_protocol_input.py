"""AWS's input cases reversed: the request a client must send parses to the parameters it was made from."""

import base64

import pytest
from protocol_cases import Case, cases, comparable, to_python

from preheat.kernel.http import HttpRequest

ABSENT = "an empty list or map is not on the wire at all"
NO_TARGET = "the case leaves the X-Amz-Target header out"
TOKEN = "the token in it is of the client's own making"
EMPTY_BODY = "the client sends {} for a payload it was not given"
# Requests that do not carry their parameters, each with the reason.
EXCEPTIONS = {
    "RestJsonHttpPrefixHeadersAreNotPresent": ABSENT,
    "RestJsonOmitsEmptyListQueryValues": ABSENT,
    "QueryEmptyQueryMaps": ABSENT,
    "RestJsonQueryIdempotencyTokenAutoFill": TOKEN,
    "QueryProtocolIdempotencyTokenAutoFill": TOKEN,
    "RestJsonHttpWithEmptyStructurePayload": EMPTY_BODY,
    "RestJsonHttpWithHeadersButNoPayload": EMPTY_BODY,
    "RestJsonQueryPrecedence": "the client drops a value that another member overrides",
    "RestJsonQueryParamsStringListMap": "a server puts named parameters into the map too (Smithy: httpQueryParams)",
    "RestJsonHostWithPath": "the path prefix belongs to the client's endpoint",
    "MediaTypeHeaderInputBase64": "jsonvalue headers: no service served here has them",
    "AwsJson10EndpointTrait": NO_TARGET,
    "AwsJson10EndpointTraitWithHostLabel": NO_TARGET,
    "AwsJson10HostWithPath": NO_TARGET,
}


def is_exception(case: Case) -> bool:
    compressed = "ontentEncoding" in case.id or "ProvidedEncoding" in case.id  # these cases have no body to parse
    return compressed or case.id in EXCEPTIONS


PROTOCOLS = (
    *("rest-json", "json", "json_1_0", "query"),
    *("smithy-rpc-v2-cbor", "smithy-rpc-v2-cbor-query-compatible", "json_1_0-query-compatible"),
)
INPUT = [case for protocol in PROTOCOLS for case in cases("input", protocol) if not is_exception(case)]


def request_of(serialized: dict) -> HttpRequest:
    path, _, query = serialized.get("uri", "/").partition("?")
    body = serialized.get("body", "")
    binary = serialized.get("headers", {}).get("smithy-protocol") == "rpc-v2-cbor"
    return HttpRequest(
        serialized.get("method", "POST"),
        path,
        query,
        list(serialized.get("headers", {}).items()),
        base64.b64decode(body) if binary else body.encode(),
    )


@pytest.mark.parametrize("case", INPUT, ids=lambda case: case.id)
def test_request_parses_to_its_parameters(case: Case) -> None:
    protocol = case.protocol()
    request = request_of(case.content["serialized"])
    operation, labels = protocol.route(request)
    assert operation.name == case.content["given"]["name"]
    params = protocol.parse(operation, request, labels)
    expected = case.content["params"]
    if operation.input is not None:
        expected = to_python(expected, operation.input)
    assert comparable(params) == comparable(expected)


def test_the_cases_are_all_there() -> None:
    assert len(INPUT) > 200
