"""Real operations both ways: botocore's serialiser -> our parser, our serialiser -> botocore's parser."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSRequest, HeadersDict, prepare_request_dict
from botocore.model import OperationModel
from botocore.model import ServiceModel as BotocoreModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import Session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_cases import comparable
from shape_values import structures

from preheat.aws.json_rpc import JsonRpc
from preheat.aws.model import load_service
from preheat.aws.protocol import WireProtocol
from preheat.aws.query import Query
from preheat.aws.rest_json import RestJson
from preheat.kernel.http import HttpRequest

SERVICES = ("lambda", "apigateway", "logs", "sts", "iam")
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def theirs(service: str) -> BotocoreModel:
    return Session().get_service_model(service)


@cache
def ours(service: str) -> WireProtocol:
    return {"lambda": RestJson, "apigateway": RestJson, "logs": JsonRpc}.get(service, Query)(load_service(service))


def operations(service: str) -> st.SearchStrategy[OperationModel]:
    model = theirs(service)
    return st.sampled_from([model.operation_model(name) for name in model.operation_names])


def pruned(value: Any) -> Any:
    """Without empty structures, lists and maps, which forms and query strings cannot tell from absent ones."""
    if isinstance(value, dict):
        items = {key: pruned(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [item for item in map(pruned, value) if item not in ({}, [])]
    return value


def without_named_parameters(parsed: dict, params: dict, model: OperationModel) -> dict:
    """A server's map of the query string holds the parameters that have members of their own, too."""
    members = model.input_shape.members if model.input_shape else {}
    for name, member in members.items():
        if member.serialization.get("location") == "querystring" and member.type_name == "map" and name in parsed:
            kept = params.get(name, {})
            parsed = {**parsed, name: {key: value for key, value in parsed[name].items() if key in kept}}
    return parsed


def sent(params: dict, operation: OperationModel) -> HttpRequest:
    content = create_serializer(operation.service_model.protocol, include_validation=False).serialize_to_request(
        params, operation
    )
    prepare_request_dict(content, "http://localhost:4566")
    request = AWSRequest(content["method"], content["url"], content["headers"], content["body"]).prepare()
    url = urlsplit(request.url)
    headers = [(name, value if isinstance(value, str) else value.decode()) for name, value in request.headers.items()]
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    return HttpRequest(request.method, url.path, url.query, headers, body)


@pytest.mark.parametrize("service", SERVICES)
@QUICK
@given(data=st.data())
def test_requests(service: str, data: st.DataObject) -> None:
    model = data.draw(operations(service))
    params = data.draw(structures(model.input_shape)) if model.input_shape else {}
    request = sent(params, model)
    operation, labels = ours(service).route(request)
    assert operation.name == model.name
    parsed = ours(service).parse(operation, request, labels)
    assert pruned(without_named_parameters(parsed, params, model)) == pruned(params)


@pytest.mark.parametrize("service", SERVICES)
@QUICK
@given(data=st.data())
def test_results(service: str, data: st.DataObject) -> None:
    model = data.draw(operations(service).filter(lambda operation: not operation.has_event_stream_output))
    result = data.draw(structures(model.output_shape)) if model.output_shape else {}
    response = ours(service).serialize(load_service(service).operations[model.name], result, "id-1")
    content = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    parsed = create_parser(model.service_model.protocol).parse(content, model.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id-1"
    # where the result leaves these out, botocore still reports what it got
    for name, member in (model.output_shape.members if model.output_shape else {}).items():
        is_status = member.serialization.get("location") == "statusCode"
        is_content_type = member.serialization.get("name") == "Content-Type"
        if name not in result and (is_status or is_content_type or member.type_name == "blob"):
            parsed.pop(name, None)
    assert pruned(comparable_blobs(parsed)) == pruned(comparable_blobs(result))


def comparable_blobs(value: dict) -> dict:
    """botocore reads a blob that is the whole body as text."""
    return {
        name: comparable(item) if isinstance(item, bytes) and item.isascii() else item for name, item in value.items()
    }
