"""Speaking to a registry with ECR's credentials, for the commands that push and pull."""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from preheat.kernel.errors import PreheatError

_ECR = re.compile(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com")


def ecr_region(registry: str) -> str | None:
    """The region of a real ECR registry's host; None for any other host."""
    match = _ECR.fullmatch(registry)
    return match[1] if match else None


def ecr(registry: str, profile: str | None = None) -> Any:
    """A boto3 ECR client: of AWS for a real ECR's host, else of the local cloud at that address."""
    import boto3

    region = ecr_region(registry)
    if region is not None:
        return boto3.Session(profile_name=profile).client("ecr", region_name=region)
    return boto3.client(
        "ecr",
        endpoint_url=f"http://{registry}",
        region_name=os.environ.get("AWS_REGION") or "us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def credentials(registry: str, profile: str | None = None) -> str:
    """ "AWS:<password>" for a registry, as `aws ecr get-login-password` has it. Raises PreheatError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = ecr(registry, profile).get_authorization_token()
    except (BotoCoreError, ClientError) as error:
        raise PreheatError(f"no token for {registry}: {error}", 253) from None
    token: str = answer["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode()


def create_repository(registry: str, name: str, profile: str | None = None) -> None:
    """Create a repository unless it is there. Raises PreheatError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ecr(registry, profile).create_repository(repositoryName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "RepositoryAlreadyExistsException":
            raise PreheatError(str(error), 254) from None
    except BotoCoreError as error:
        raise PreheatError(str(error), 255) from None
