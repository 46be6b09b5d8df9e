"""AWS's output cases reversed: what we serialise from a result, botocore's own parser reads back as that result."""

import copy

import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import NoShapeFoundError
from botocore.model import ServiceModel as BotocoreModel
from botocore.parsers import create_parser
from protocol_cases import Case, cases, comparable, to_python

from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpResponse

NO_ID = "botocore reads no request id where an rpcv2Cbor operation has no output"
QUERY_STATUS = "the case's model has query's status, its answer another; test_metrics_wire.py has such errors"
# Results that botocore's parsers do not bring back, each with the reason (most are on botocore's own ignore list).
EXCEPTIONS = {
    "RestJsonHttpPayloadTraitsWithNoBlobBody": "botocore reads no body as an empty blob",
    "RestJsonHttpPayloadWithUnsetUnion": "botocore refuses a union without a member",
    "HttpPrefixHeadersResponse": "the empty prefix takes in every header, the request id too",
    "MediaTypeHeaderOutputBase64": "jsonvalue headers: no service served here has them",
    "no_output": NO_ID,
    "NoOutputClientAllowsEmptyCbor": NO_ID,
    "NoOutputClientAllowsEmptyBody": NO_ID,
    "QueryCompatibleRpcV2CborCustomCodeError": QUERY_STATUS,
    "QueryCompatibleAwsJson10CustomCodeError": QUERY_STATUS,
    "QueryXmlLists": "two flattened lists of one element name, which botocore reads as one",
}
HEADERS_ONLY = ("RestJsonInputAndOutputWithQuotedStringHeaders", "RestJsonInputAndOutputWithTimestampHeaders")
PROTOCOLS = (
    *("rest-json", "json", "json_1_0", "query"),
    *("smithy-rpc-v2-cbor", "smithy-rpc-v2-cbor-query-compatible", "json_1_0-query-compatible"),
)
OUTPUT = [case for protocol in PROTOCOLS for case in cases("output", protocol) if case.id not in EXCEPTIONS]
RESULTS = [case for case in OUTPUT if "error" not in case.content and case.id not in HEADERS_ONLY]
ERRORS = [case for case in OUTPUT if "error" in case.content]


def botocore_model(case: Case) -> BotocoreModel:
    document = copy.deepcopy(dict(case.document))
    for operation in document["operations"].values():
        if "output" in operation and document["metadata"]["protocol"] == "query":
            operation["output"]["resultWrapper"] = f"{operation['name']}Result"
    return BotocoreModel(document)


def parsed(case: Case, response: HttpResponse, shape) -> dict:
    parser = create_parser(case.document["metadata"]["protocol"])
    content = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    content["context"] = {"operation_name": case.content["given"]["name"]}
    return parser.parse(content, shape)


@pytest.mark.parametrize("case", RESULTS, ids=lambda case: case.id)
def test_result_survives_botocore(case: Case) -> None:
    operation = case.operation
    result = case.content["result"]
    if operation.output is not None:
        result = to_python(result, operation.output)
    response = case.protocol().serialize(operation, result, "id-1")
    model = botocore_model(case).operation_model(operation.name)
    found = parsed(case, response, model.output_shape)
    metadata = found.pop("ResponseMetadata")
    assert metadata["RequestId"] == "id-1"
    assert comparable(found) == comparable(result)


@pytest.mark.parametrize("case", [case for case in OUTPUT if case.id in HEADERS_ONLY], ids=lambda case: case.id)
def test_lists_that_botocore_misreads_are_written_as_smithy_says(case: Case) -> None:
    operation = case.operation
    response = case.protocol().serialize(operation, to_python(case.content["result"], operation.output), "id-1")
    expected = {name.lower(): value for name, value in case.content["response"]["headers"].items()}
    written = {name.lower(): value for name, value in response.headers}
    assert {name: written.get(name) for name in expected} == expected


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.id)
def test_error_survives_botocore(case: Case) -> None:
    content = case.content
    code, message = content["errorCode"], content.get("errorMessage", "")
    model = botocore_model(case)
    shape = case.model.errors.get(code)
    fields = to_python(content["error"], shape) if shape is not None else {}
    fields = {name: value for name, value in fields.items() if name.lower() != "message"}
    error = AwsError(code, message, content["response"]["status_code"], fields=fields)
    response = case.protocol().error(error, "id-1")
    found = parsed(case, response, model.operation_model(content["given"]["name"]).output_shape)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == content["response"]["status_code"]
    assert (found["Error"]["Code"], found["Error"]["Message"] or "") == (code, message)
    try:
        error_shape = model.shape_for_error_code(code)
    except NoShapeFoundError:
        assert not fields
    else:
        again = parsed(case, response, error_shape)
        assert comparable({name: again.get(name) for name in fields}) == comparable(fields)


def test_the_cases_are_all_there() -> None:
    assert len(RESULTS) > 160
    assert len(ERRORS) > 10
