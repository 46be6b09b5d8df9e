"""Authorizers of HTTP APIs: JWT and Lambda."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import ACCOUNT, HOST, HttpCloud, invoke_uri

from preheat.kernel.function import InvokeResult


@pytest.fixture
def cloud(tmp_path: Path) -> HttpCloud:
    return HttpCloud(tmp_path)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """(issuer's URL, signing key)"""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    document = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "use": "sig", "alg": "RS256"}
    path = tmp_path_factory.mktemp("jwks") / "jwks.json"
    path.write_text(json.dumps({"keys": [document]}))
    return f"file://{path}", key


def token(key: Any, **claims: Any) -> str:
    import jwt

    given = {"aud": "me", "sub": "user", "exp": int(time.time()) + 60, **claims}
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, key, algorithm="RS256", headers={"kid": "k1"})


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "read write"}, 200),
        ({"scp": ["write"]}, 200),
        ({"aud": None, "client_id": "me", "scope": "read"}, 200),
        ({"scope": "other"}, 403),
        ({}, 403),
        ({"aud": "you", "scope": "read"}, 401),
        ({"exp": 1, "scope": "read"}, 401),
        ({"exp": None, "scope": "read"}, 401),
        ({"iss": "http://other", "scope": "read"}, 401),
        ({"nbf": 99999999999, "scope": "read"}, 401),
    ],
)
def test_jwt(cloud: HttpCloud, issuer: tuple[str, Any], claims: dict[str, Any], status: int) -> None:
    api = guarded(cloud, issuer[0])
    signed = token(issuer[1], **{"iss": issuer[0], **claims})
    response = cloud.ask(api, "/x", headers=[HOST, ("Authorization", f"Bearer {signed}")])
    assert response.status == status
    if status == 200:
        authorizer = cloud.event()["requestContext"]["authorizer"]["jwt"]
        assert authorizer["claims"]["sub"] == "user"
        assert set(authorizer["scopes"]) <= {"read", "write"}
    else:
        assert not cloud.functions.invocations


@pytest.mark.parametrize("given", [None, "nonsense", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."])
def test_no_good_token(cloud: HttpCloud, issuer: tuple[str, Any], given: str | None) -> None:
    headers = [HOST, *([("Authorization", given)] if given else [])]
    response = cloud.ask(guarded(cloud, issuer[0]), "/x", headers=headers)
    assert (response.status, response.body) == (401, b'{"message":"Unauthorized"}')


def guarded(cloud: HttpCloud, issuer_url: str) -> str:
    api = cloud.api()
    authorizer = cloud.call(
        "create_authorizer",
        ApiId=api,
        Name="j",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer_url, "Audience": ["me"]},
    )
    cloud.route(
        api,
        "GET /x",
        AuthorizationType="JWT",
        AuthorizerId=authorizer["AuthorizerId"],
        AuthorizationScopes=["read", "write"],
    )
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    return api


def authorized(cloud: HttpCloud, answer: Any, **authorizer: Any) -> str:
    """An API whose route asks the function `auth` first, which answers this."""

    def behave(future: Any) -> None:
        if cloud.functions.functions[-1].name == "auth":
            future.set_result(InvokeResult(json.dumps(answer).encode(), None, "$LATEST", "r"))
        else:
            cloud.functions.answer(future)

    cloud.functions.behave = behave
    api = cloud.api()
    made = cloud.call(
        "create_authorizer",
        ApiId=api,
        **{
            "Name": "a",
            "AuthorizerType": "REQUEST",
            "AuthorizerUri": invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:auth"),
            "AuthorizerPayloadFormatVersion": "2.0",
            "EnableSimpleResponses": True,
            "IdentitySource": ["$request.header.Authorization"],
            **authorizer,
        },
    )
    cloud.route(api, "GET /pets/{id}", AuthorizationType="CUSTOM", AuthorizerId=made["AuthorizerId"])
    cloud.call("create_stage", ApiId=api, StageName="prod", AutoDeploy=True)
    return api


WITH_TOKEN = [HOST, ("Authorization", "t")]
ALLOW = {"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*/prod/GET/pets/*"}]}


def test_a_lambda_authorizer(cloud: HttpCloud) -> None:
    api = authorized(cloud, {"isAuthorized": True, "context": {"tier": "gold", "n": 1}})
    assert cloud.ask(api, "/prod/pets/1").status == 401
    assert not cloud.functions.invocations
    assert cloud.ask(api, "/prod/pets/1", headers=WITH_TOKEN).status == 200
    asked, served = (json.loads(one.payload) for one in cloud.functions.invocations)
    arn = f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/prod/GET/pets/1"
    assert (asked["type"], asked["routeArn"], asked["identitySource"]) == ("REQUEST", arn, ["t"])
    assert (asked["version"], asked["pathParameters"], "body" in asked) == ("2.0", {"id": "1"}, False)
    assert served["requestContext"]["authorizer"] == {"lambda": {"tier": "gold", "n": 1}}


@pytest.mark.parametrize(
    ("answer", "authorizer", "status"),
    [
        ({"isAuthorized": False}, {}, 403),
        ({"isAuthorized": "yes"}, {}, 500),
        ([1], {}, 500),
        ({"policyDocument": ALLOW}, {"EnableSimpleResponses": False}, 200),
        ({"policyDocument": ALLOW}, {"EnableSimpleResponses": False, "AuthorizerPayloadFormatVersion": "1.0"}, 200),
        ({"policyDocument": {"Statement": []}}, {"EnableSimpleResponses": False}, 403),
        ({"isAuthorized": True}, {"EnableSimpleResponses": False}, 500),
        ({"isAuthorized": True}, {"IdentitySource": ["$request.querystring.q"]}, 401),
    ],
)
def test_what_a_lambda_authorizer_says(cloud: HttpCloud, answer: Any, authorizer: dict[str, Any], status: int) -> None:
    assert cloud.ask(authorized(cloud, answer, **authorizer), "/prod/pets/1", headers=WITH_TOKEN).status == status


def test_a_lambda_authorizers_cache(cloud: HttpCloud) -> None:
    api = authorized(cloud, {"isAuthorized": True}, AuthorizerResultTtlInSeconds=60)
    for _ in range(3):
        assert cloud.ask(api, "/prod/pets/1", headers=WITH_TOKEN).status == 200
    assert [one.name for one in cloud.functions.functions].count("auth") == 1


def test_everything_survives_a_restart(cloud: HttpCloud, issuer: tuple[str, Any]) -> None:
    api = guarded(cloud, issuer[0])
    reads = ("get_routes", "get_integrations", "get_stages", "get_authorizers", "get_api")
    before = [cloud.call(read, ApiId=api) for read in reads]
    cloud.open()
    assert [cloud.call(read, ApiId=api) for read in reads] == before
    cloud.call("delete_api", ApiId=api)
    cloud.open()
    assert cloud.call("get_apis") == {"Items": []}
