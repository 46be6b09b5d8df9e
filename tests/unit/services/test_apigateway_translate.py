"""Non-proxy integrations end to end on a fake Lambda: both directions of the mapping."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, custom, header

from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpResponse

JSON = "application/json"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def event(cloud: Cloud) -> Any:
    return json.loads(cloud.functions.invocations[-1].payload)


def test_the_body_is_the_event_and_the_answer_the_body(cloud: Cloud) -> None:
    """The assignment's non-proxy shape: the function's `{"statusCode": …}` comes back as the body."""
    cloud.functions.payload = b'{"statusCode": 201, "body": "x"}'
    api = custom(cloud)
    response = cloud.request(api, "/x", method="POST", body=b'{"values": [1, 2]}')
    assert event(cloud) == {"values": [1, 2]}
    assert (response.status, response.body) == (200, b'{"statusCode": 201, "body": "x"}')
    assert header(response, "content-type") == JSON
    assert header(response, "x-amzn-requestid")
    assert str(header(response, "x-amzn-trace-id")).startswith("Root=1-")


def test_request_template_and_parameters(cloud: Cloud) -> None:
    template = """#set($b = $input.path('$'))
{"values": $input.json('$.v'), "id": "$input.params('id')", "q": "$input.params('q')", "first": $b.v[0],
 "stage": "$context.stage", "method": "$context.httpMethod", "ip": "$context.identity.sourceIp"}"""
    api = custom(cloud, path="/{id}", requestTemplates={JSON: template})
    assert cloud.request(api, "/p1?q=a", method="POST", body=b'{"v": [5, 6]}').status == 200
    assert event(cloud) == {
        "values": [5, 6],
        "id": "p1",
        "q": "a",
        "first": 5,
        "stage": "default",
        "method": "POST",
        "ip": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("behaviour", "content_type", "expected"),
    [
        ("WHEN_NO_MATCH", "text/csv", {"raw": 1}),
        ("WHEN_NO_TEMPLATES", "text/csv", None),
        ("NEVER", "text/csv", None),
        ("NEVER", JSON, {"t": 1}),
        ("NEVER", f"{JSON}; charset=utf-8", {"t": 1}),
    ],
)
def test_passthrough(cloud: Cloud, behaviour: str, content_type: str, expected: Any) -> None:
    api = custom(cloud, requestTemplates={JSON: '{"t": 1}'}, passthroughBehavior=behaviour)
    response = cloud.request(
        api, "/x", method="POST", body=b'{"raw": 1}', headers=[("Host", "h"), ("Content-Type", content_type)]
    )
    if expected is None:
        assert (response.status, response.body) == (415, b'{"message":"Unsupported Media Type"}')
        assert not cloud.functions.invocations
    else:
        assert response.status == 200
        assert event(cloud) == expected


RESPONSES = [
    {"statusCode": "200", "responseTemplates": {JSON: "{\"wrapped\": $input.json('$')}"}},
    {"statusCode": "400", "selectionPattern": ".*bad input.*", "responseTemplates": {JSON: "$input.path('$')"}},
    {"statusCode": "500", "selectionPattern": "(\\n|.)+"},
]


@pytest.mark.parametrize(
    ("payload", "error", "status", "body"),
    [
        (b'{"a":1}', None, 200, b'{"wrapped": {"a":1}}'),
        (b'{"errorMessage":"some bad input here"}', "Unhandled", 400, b"{errorMessage=some bad input here}"),
        (b'{"errorMessage":"two\\nlines"}', "Unhandled", 500, b'{"errorMessage":"two\\nlines"}'),
    ],
)
def test_selection_patterns(cloud: Cloud, payload: bytes, error: str | None, status: int, body: bytes) -> None:
    """No error is the empty text: the guide's pattern for any error, `(\\n|.)+`, is not met by a success."""
    api = custom(cloud, RESPONSES)
    cloud.functions.payload, cloud.functions.function_error = payload, error
    response = cloud.request(api, "/x", method="POST", body=b"{}")
    assert (response.status, response.body) == (status, body)


def test_an_unmapped_function_error_is_200(cloud: Cloud) -> None:
    api = custom(cloud)
    cloud.functions.payload, cloud.functions.function_error = b'{"errorMessage":"x"}', "Unhandled"
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (200, b'{"errorMessage":"x"}')


def test_without_an_integration_response_it_is_500(cloud: Cloud) -> None:
    api = custom(cloud, [{"statusCode": "200", "selectionPattern": "never"}])
    assert cloud.request(api, "/x").status == 500


def test_response_headers_and_overrides(cloud: Cloud) -> None:
    api = custom(
        cloud,
        [
            {
                "statusCode": "200",
                "responseParameters": {
                    "method.response.header.A": "'static'",
                    "method.response.header.B": "integration.response.body.b",
                    "method.response.header.C": "context.stage",
                    "method.response.header.D": "integration.response.header.none",
                },
                "responseTemplates": {
                    JSON: '#set($context.responseOverride.status = 202)#set($context.responseOverride.header.A = "o")x'
                },
            }
        ],
    )
    cloud.functions.payload = b'{"b": "from the body"}'
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (202, b"x")
    assert [header(response, name) for name in "ABCD"] == ["o", "from the body", "default", None]


def test_an_asynchronous_invocation(cloud: Cloud) -> None:
    api = custom(cloud, requestParameters={"integration.request.header.X-Amz-Invocation-Type": "'Event'"})
    response = cloud.request(api, "/x", method="POST", body=b'{"a": 1}')
    assert (response.status, response.body) == (200, b"")
    assert (cloud.functions.events, cloud.functions.invocations) == ([b'{"a": 1}'], [])


def test_a_template_that_fails(cloud: Cloud) -> None:
    api = custom(cloud, requestTemplates={JSON: "$input.json('$.x')#foreach("})
    assert cloud.request(api, "/x", method="POST", body=b"{}").status == 500
    assert not cloud.functions.invocations


def test_an_event_that_is_no_json_is_lambdas_to_refuse(cloud: Cloud) -> None:
    """Lambda's own error passes the mapping: a 200 where nothing maps it."""
    api = custom(cloud, requestTemplates={JSON: "not JSON"})
    response = cloud.request(api, "/x", method="POST", body=b"{}")
    assert (response.status, json.loads(response.body)["Type"]) == (200, "User")
    assert json.loads(response.body)["message"].startswith("Could not parse request body into json")
    assert not cloud.functions.invocations


def test_what_lambda_refuses_passes_the_mapping(cloud: Cloud) -> None:
    api = custom(cloud, [{"statusCode": "200"}, {"statusCode": "429", "selectionPattern": "429"}])
    refused = AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": "x"})
    cloud.functions.behave = lambda future: future.set_exception(refused)
    response = cloud.request(api, "/x")
    assert (response.status, json.loads(response.body)["message"]) == (429, "Rate Exceeded.")


def test_time_out(cloud: Cloud) -> None:
    api = custom(cloud, timeoutInMillis=50)
    cloud.functions.behave = lambda future: None
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (504, b'{"message":"Endpoint request timed out"}')


def test_mock_for_cors(cloud: Cloud) -> None:
    cors = {f"method.response.header.Access-Control-Allow-{name}": "'*'" for name in ("Origin", "Headers", "Methods")}
    api = custom(
        cloud,
        [{"statusCode": "204", "responseParameters": cors}],
        type="MOCK",
        requestTemplates={JSON: '#if($input.params("x") == "")#set($s = 204)#end{"statusCode": $s}'},
    )
    response = cloud.request(api, "/x", method="OPTIONS")
    assert response.status == 204
    assert header(response, "access-control-allow-origin") == "*"


def test_binary_in_and_out(cloud: Cloud) -> None:
    api = custom(
        cloud,
        [{"statusCode": "200", "contentHandling": "CONVERT_TO_BINARY"}],
        api={"binaryMediaTypes": ["image/png"]},
        contentHandling="CONVERT_TO_TEXT",
        requestTemplates={"image/png": '{"image": "$input.body"}'},
    )
    cloud.functions.payload = b'"iVBORw=="'
    response = cloud.request(
        api, "/x", method="POST", body=b"\x89PNG", headers=[("Host", "h"), ("Content-Type", "image/png")]
    )
    assert event(cloud) == {"image": "iVBORw=="}
    assert (response.status, response.body) == (200, b"\x89PNG")


MOCK_TEMPLATES = {
    '{"statusCode": 200}': 200,
    "{ statusCode: 200 }": 200,
    "{'statusCode': 200}": 200,
    '{"statusCode": 200,}': 200,
    "{statusCode: 200, foo: [ba r]}": 200,
    "{\"value\": 'goog', statusCode: 200}": 200,
    '{"statusCode": "200"}': 500,
    '{"statusCode": 200': 500,
    "statusCode: 200": 500,
    "{}": 500,
}
"""localstack's test_mock_integration: AWS takes more than JSON, but the number must be one."""


@pytest.mark.parametrize(("template", "status"), MOCK_TEMPLATES.items())
def test_what_a_mock_takes_for_a_status(cloud: Cloud, template: str, status: int) -> None:
    api = custom(cloud, type="MOCK", requestTemplates={JSON: template})
    assert cloud.request(api, "/x").status == status


@pytest.mark.parametrize(
    ("template", "body", "status"),
    [
        ("$input.json('$.a')", b'{"a": ', 400),
        ('{"form": $input.json("$")}', b"a=1&b=2", 200),
    ],
)
def test_bodies_that_are_no_json(cloud: Cloud, template: str, body: bytes, status: int) -> None:
    api = custom(cloud, requestTemplates={JSON: template})
    response = cloud.request(api, "/x", method="POST", body=body)
    assert response.status == status
    if status == 200:
        assert event(cloud) == {"form": "a=1&b=2"}
    else:
        assert response.body == b'{"message":"Invalid JSON in request body"}'
        assert not cloud.functions.invocations


def test_many_at_once(cloud: Cloud) -> None:
    from preheat.kernel.http import HttpRequest

    api = custom(cloud, requestTemplates={JSON: '{"n": $input.params("n")}'})

    async def all_of_them() -> list[HttpResponse]:
        path = f"/_aws/execute-api/{api}/default/x"
        return await asyncio.gather(*(cloud.send(HttpRequest("GET", path, f"n={n}")) for n in range(50)))

    assert {response.status for response in asyncio.run(all_of_them())} == {200}
    assert sorted(json.loads(one.payload)["n"] for one in cloud.functions.invocations) == list(range(50))
