"""What API Gateway makes of a proxy function's answer: the fidelity sheet as a table, and arbitrary JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.responses import Malformed, NotBase64, proxy_response

TEXT_ONLY = BinaryMediaTypes([])
JSON_TYPE = ("Content-Type", "application/json")


def convert(answer: Any, accept: str | None = "*/*", binary: BinaryMediaTypes = TEXT_ONLY) -> Any:
    return proxy_response(json.dumps(answer).encode(), accept, binary)


@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        ({}, 200, [JSON_TYPE], b""),
        ({"statusCode": 200}, 200, [JSON_TYPE], b""),
        ({"statusCode": "201"}, 201, [JSON_TYPE], b""),
        ({"statusCode": 404, "body": "é"}, 404, [JSON_TYPE], "é".encode()),
        ({"statusCode": 200, "headers": None}, 200, [JSON_TYPE], b""),
        ({"body": None}, 200, [JSON_TYPE], b""),
        ({"headers": {"content-type": "text/plain"}}, 200, [("content-type", "text/plain")], b""),
        ({"headers": {"h": True}}, 200, [("h", "true"), JSON_TYPE], b""),
        ({"headers": {"h": 5}}, 200, [("h", "5"), JSON_TYPE], b""),
        ({"multiValueHeaders": {"m": ["1", "2"]}}, 200, [("m", "1"), ("m", "2"), JSON_TYPE], b""),
        (
            {"multiValueHeaders": {"tesT-M": ["multi"]}, "headers": {"test-m": "solo"}},
            200,
            [("tesT-M", "multi"), ("tesT-M", "solo"), JSON_TYPE],
            b"",
        ),
        ({"multiValueHeaders": {"m": ["same"]}, "headers": {"m": "same"}}, 200, [("m", "same"), JSON_TYPE], b""),
        ({"headers": {"Server": "me"}}, 200, [("x-amzn-Remapped-Server", "me"), JSON_TYPE], b""),
        ({"headers": {"x-amzn-RequestId": "forged"}}, 200, [JSON_TYPE], b""),
        ({"headers": {"Transfer-Encoding": "chunked"}}, 200, [JSON_TYPE], b""),
        ({"body": "dGVzdA==", "isBase64Encoded": True}, 200, [JSON_TYPE], b"dGVzdA=="),
        ({"statusCode": 204, "body": "no"}, 204, [JSON_TYPE], b""),
    ],
)
def test_accepted(answer: Any, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    response = convert(answer)
    assert (response.status, response.headers, response.body) == (status, headers, body)


@pytest.mark.parametrize(
    "answer",
    [
        "justAString",
        None,
        5,
        [],
        {"statusCode": 200, "wrongValue": "value"},
        {"statusCode": "test"},
        {"statusCode": "²00"},
        {"statusCode": 99},
        {"statusCode": 1e300},
        {"statusCode": True},
        {"statusCode": None},
        {"multiValueHeaders": {"m": "not a list"}},
        {"headers": {"m": ["a list"]}},
        {"headers": ["x"]},
        {"body": {"an": "object"}},
        {"isBase64Encoded": "perhaps"},
        {"headers": {"a": "b\r\nSet-Cookie: c"}},
        {"headers": {"a\nb": "c"}},
        {"headers": {"a\n": "c"}},
        {"headers": {"": "c"}},
        {"multiValueHeaders": {"a": ["b", "c\nd"]}},
    ],
)
def test_malformed(answer: Any) -> None:
    with pytest.raises(Malformed):
        convert(answer)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"statusCode": NaN}', b'{"statusCode": 1e999}', b"[" * 9999])
def test_payloads_that_are_not_json(payload: bytes) -> None:
    with pytest.raises(Malformed):
        proxy_response(payload, None, TEXT_ONLY)


PNG = b"\x89PNG\r\n"


@pytest.mark.parametrize(
    ("configured", "accept", "decoded"),
    [
        ([], "image/png", False),
        (["image/png"], "image/png", True),
        (["image/png"], "IMAGE/PNG", True),
        (["image/png"], "image/jpg", False),
        (["image/png"], "image/*", False),
        (["image/png"], "*/*", False),
        (["image/png"], "image/webp,image/png,*/*;q=0.8", False),
        (["image/png"], "image/png,image/*,*/*;q=0.8", True),
        (["image/png"], None, False),
        (["*/test"], "*/test", False),
        (["*/test"], "random/test", False),
        (["application/*"], "application/whatever", True),
        (["application/*"], "application/*", True),
        (["application/*"], "application", False),
        (["*/*"], "anything/at-all", True),
        (["*/*"], None, True),
    ],
)
def test_base64_is_decoded_only_where_accept_matches(configured: list[str], accept: str | None, decoded: bool) -> None:
    text = base64.b64encode(PNG).decode()
    answer = {"body": text, "isBase64Encoded": True}
    expected = PNG if decoded else text.encode()
    assert convert(answer, accept, BinaryMediaTypes(configured)).body == expected


def test_bad_base64() -> None:
    with pytest.raises(NotBase64):
        convert({"body": "èé+à)(", "isBase64Encoded": True}, "image/png", BinaryMediaTypes(["image/png"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "statusCode": st.integers(100, 700) | st.text(max_size=4) | JSON,
        "headers": st.dictionaries(st.text(), st.text() | JSON) | JSON,
        "multiValueHeaders": st.dictionaries(st.text(), st.lists(st.text() | JSON)) | JSON,
        "body": st.text() | JSON,
        "isBase64Encoded": st.booleans() | JSON,
    },
)


@given(JSON | LIKELY, st.none() | st.text(), st.sampled_from([[], ["*/*"], ["image/png"]]))
def test_arbitrary_json_never_splits_a_response(answer: Any, accept: str | None, configured: list[str]) -> None:
    try:
        response = convert(answer, accept, BinaryMediaTypes(configured))
    except (Malformed, NotBase64):
        return
    assert 200 <= response.status <= 599
    assert isinstance(response.body, bytes)
    for name, value in response.headers:
        line = f"{name}: {value}".encode("latin-1")
        assert not set(line) & set(b"\r\n\0")
        assert name
