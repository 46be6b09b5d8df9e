"""Where to deploy: the local cloud or AWS, and the clients that speak to it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from preheat.kernel.errors import PreheatError

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sts import STSClient

USAGE, CONFIGURATION, SERVICE, OTHER = 252, 253, 254, 255
"""Exit codes of the aws CLI (docs.aws.amazon.com/cli/latest/topic/return-codes.html)."""

DEFAULT_ENDPOINT = "http://127.0.0.1:4566"
DEFAULT_REGION = "us-east-1"

_ENDPOINT_VARIABLES = {
    "lambda": "AWS_ENDPOINT_URL_LAMBDA",
    "apigateway": "AWS_ENDPOINT_URL_API_GATEWAY",
    "logs": "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "iam": "AWS_ENDPOINT_URL_IAM",
    "sts": "AWS_ENDPOINT_URL_STS",
}


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is "local" or "aws"; on AWS `endpoints` is empty and boto3 finds its own."""

    name: str
    region: str
    profile: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        return self.name == "local"

    @property
    def endpoint_url(self) -> str | None:
        """The data plane's and the Lambda API's address; None on AWS."""
        return self.endpoints.get("lambda")


@dataclass(frozen=True, slots=True)
class Clients:
    """One boto3 client per service used."""

    lambda_: LambdaClient
    apigateway: APIGatewayClient
    logs: CloudWatchLogsClient
    iam: IAMClient
    sts: STSClient


def choose(
    name: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    profile_config: Mapping[str, Any] | None = None,
) -> Target:
    """Decide the target as the aws CLI would: a flag wins over the service's variable, AWS_ENDPOINT_URL, the profile.

    Raises PreheatError 252 for AWS while anything points elsewhere: what looks like a local rehearsal must
    never bill an account, nor the reverse.
    """
    environ = os.environ if environ is None else environ
    config = profile_config or {}
    chosen_region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or config.get("region")
    if name == "aws":
        pointers = [variable for variable in environ if variable.startswith("AWS_ENDPOINT_URL") and environ[variable]]
        if endpoint_url:
            pointers.insert(0, "--endpoint-url")
        if config.get("endpoint_url"):
            pointers.append(f"profile {profile or 'default'}'s endpoint_url")
        if pointers:
            raise PreheatError(f"--target aws is refused while {pointers[0]} points elsewhere: unset it first", USAGE)
        if not chosen_region:
            raise PreheatError("no region: give --region or set AWS_REGION", CONFIGURATION)
        return Target("aws", chosen_region, profile)
    common = environ.get("AWS_ENDPOINT_URL") or config.get("endpoint_url") or DEFAULT_ENDPOINT
    endpoints = {
        service: (endpoint_url or environ.get(variable) or common).rstrip("/")
        for service, variable in _ENDPOINT_VARIABLES.items()
    }
    return Target("local", chosen_region or DEFAULT_REGION, profile, endpoints)


def profile_settings(profile: str | None) -> Mapping[str, Any]:
    """The shared configuration file's section for a profile; raises PreheatError 253 if a named one is missing."""
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    session = botocore.session.Session(profile=profile)
    try:
        return dict(session.get_scoped_config())
    except ProfileNotFound as error:
        raise PreheatError(str(error), CONFIGURATION) from error


def connect(target: Target) -> Clients:
    """Clients for a target. Locally the credentials are made up, so that real ones never leave for it."""
    import boto3
    from botocore.config import Config

    with spoken(target):
        if target.local:
            session = boto3.Session(
                aws_access_key_id="preheat", aws_secret_access_key="preheat", region_name=target.region
            )
            # proxies={}: a proxy from the environment cannot reach this machine's loopback.
            config = Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 1}, proxies={})
        else:
            session = boto3.Session(profile_name=target.profile, region_name=target.region)
            config = Config(retries={"mode": "standard"})
        at = target.endpoints.get
        return Clients(
            session.client("lambda", endpoint_url=at("lambda"), config=config),
            session.client("apigateway", endpoint_url=at("apigateway"), config=config),
            session.client("logs", endpoint_url=at("logs"), config=config),
            session.client("iam", endpoint_url=at("iam"), config=config),
            session.client("sts", endpoint_url=at("sts"), config=config),
        )


@contextmanager
def spoken(target: Target) -> Iterator[None]:
    """Turn botocore's exceptions into one line and the aws CLI's exit code."""
    from botocore import exceptions as failures

    try:
        yield
    except (failures.EndpointConnectionError, failures.ConnectTimeoutError, failures.ProxyConnectionError) as error:
        if target.local:
            line = f"nothing answers at {target.endpoint_url}: run `preheat up` first"
            raise PreheatError(line, CONFIGURATION) from error
        raise PreheatError(str(error), CONFIGURATION) from error
    except failures.ClientError as error:
        reason = error.response.get("Error", {})
        line = f"{error.operation_name}: {reason.get('Code', 'unknown error')}: {reason.get('Message', '')}"
        raise PreheatError(_one_line(line), SERVICE) from error
    except failures.WaiterError as error:
        raise PreheatError(_waiter_line(error), SERVICE) from error
    except (
        failures.NoCredentialsError,
        failures.PartialCredentialsError,
        failures.ProfileNotFound,
        failures.NoRegionError,
    ) as error:
        raise PreheatError(_one_line(str(error)), CONFIGURATION) from error
    except failures.ParamValidationError as error:
        raise PreheatError(_one_line(str(error)), USAGE) from error
    except failures.BotoCoreError as error:
        raise PreheatError(_one_line(str(error)), OTHER) from error


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _waiter_line(error: Any) -> str:
    """Why the function did not become ready: Lambda says it in StateReason or LastUpdateStatusReason."""
    last = error.last_response or {}
    configuration = last.get("Configuration", last)
    reason = configuration.get("LastUpdateStatusReason") or configuration.get("StateReason")
    return _one_line(f"{error}: {reason}" if reason else str(error))
