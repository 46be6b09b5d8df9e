from __future__ import annotations

import pytest
from botocore import exceptions

from preheat.deploy.target import Target, choose, spoken
from preheat.kernel.errors import PreheatError


def test_an_endpoint_is_found_as_the_aws_cli_finds_it() -> None:
    profile = {"endpoint_url": "http://profile:1", "region": "eu-west-1"}
    assert choose("local", environ={}).endpoint_url == "http://127.0.0.1:4566"
    assert choose("local", environ={}, profile_config=profile).endpoint_url == "http://profile:1"
    environ = {"AWS_ENDPOINT_URL": "http://all:2/"}
    assert choose("local", environ=environ, profile_config=profile).endpoint_url == "http://all:2"
    environ["AWS_ENDPOINT_URL_API_GATEWAY"] = "http://gateway:3"
    target = choose("local", environ=environ, profile_config=profile)
    assert (target.endpoints["apigateway"], target.endpoints["lambda"]) == ("http://gateway:3", "http://all:2")
    flagged = choose("local", endpoint_url="http://flag:4", environ=environ)
    assert set(flagged.endpoints.values()) == {"http://flag:4"}


def test_a_region_is_found_as_the_aws_cli_finds_it() -> None:
    profile = {"region": "eu-west-1"}
    environ = {"AWS_DEFAULT_REGION": "eu-north-1"}
    assert choose("local", environ={}).region == "us-east-1"
    assert choose("aws", environ={}, profile_config=profile).region == "eu-west-1"
    assert choose("aws", environ=environ, profile_config=profile).region == "eu-north-1"
    assert choose("aws", environ={**environ, "AWS_REGION": "us-west-2"}).region == "us-west-2"
    assert choose("aws", environ=environ, region="sa-east-1").region == "sa-east-1"
    with pytest.raises(PreheatError, match="no region") as caught:
        choose("aws", environ={})
    assert caught.value.exit_code == 253


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"environ": {"AWS_ENDPOINT_URL": "http://x"}}, "AWS_ENDPOINT_URL"),
        ({"environ": {"AWS_ENDPOINT_URL_LAMBDA": "http://x"}}, "AWS_ENDPOINT_URL_LAMBDA"),
        ({"environ": {}, "endpoint_url": "http://x"}, "--endpoint-url"),
        ({"environ": {}, "profile_config": {"endpoint_url": "http://x"}}, "endpoint_url"),
    ],
)
def test_aws_is_refused_while_anything_points_elsewhere(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(PreheatError, match=named) as caught:
        choose("aws", region="us-east-1", **arguments)  # type: ignore[arg-type]
    assert caught.value.exit_code == 252
    assert choose("aws", region="us-east-1", environ={"AWS_ENDPOINT_URL": ""}).endpoint_url is None


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (
            exceptions.EndpointConnectionError(endpoint_url="http://h:1/x"),
            253,
            "nothing answers at http://h:1: run `preheat up` first",
        ),
        (exceptions.NoCredentialsError(), 253, "Unable to locate credentials"),
        (exceptions.ProfileNotFound(profile="p"), 253, "The config profile (p) could not be found"),
        (
            exceptions.ClientError({"Error": {"Code": "Boom", "Message": "two\nlines"}}, "Invoke"),
            254,
            "Invoke: Boom: two lines",
        ),
        (
            exceptions.WaiterError(
                "function_active_v2", "terminal", {"Configuration": {"State": "Failed", "StateReason": "bad code"}}
            ),
            254,
            "Waiter function_active_v2 failed: terminal: bad code",
        ),
        (exceptions.ParamValidationError(report="x"), 252, "Parameter validation failed: x"),
        (exceptions.ReadTimeoutError(endpoint_url="http://h:1"), 255, 'Read timeout on endpoint URL: "http://h:1"'),
    ],
)
def test_failures_have_the_aws_clis_exit_codes(failure: Exception, code: int, line: str) -> None:
    target = Target("local", "us-east-1", endpoints={"lambda": "http://h:1"})
    with pytest.raises(PreheatError) as caught, spoken(target):
        raise failure
    assert (caught.value.exit_code, str(caught.value)) == (code, line)
