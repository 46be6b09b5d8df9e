"""Amazon Resource Names as used by the services here."""

from __future__ import annotations

import re

_FUNCTION = re.compile(
    r"^(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:"
    r"|(?P<partial>\d{12}):function:|function:)?"
    r"(?P<name>[a-zA-Z0-9-_]{1,140})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?$"
)


def function_arn(region: str, account_id: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{account_id}:function:{name}"


def parse_function(identifier: str) -> tuple[str, str | None]:
    """(name, qualifier or None) of a function name, partial ARN or full ARN.

    Raises ValueError for anything else (pattern: botocore's lambda model, shape FunctionName).
    """
    match = _FUNCTION.match(identifier)
    if match is None:
        raise ValueError(f"not a function name or ARN: {identifier!r}")
    return match["name"], match["qualifier"]


def invocation_arn(region: str, lambda_arn: str) -> str:
    """The integration URI by which API Gateway names a function."""
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{lambda_arn}/invocations"
