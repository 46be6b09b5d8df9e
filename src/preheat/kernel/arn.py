"""Amazon Resource Names as used by the services here."""

from __future__ import annotations

import re
from typing import NamedTuple

_FUNCTION = re.compile(
    r"^(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_.]{1,140})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?$"
)
"""Any of the leading parts may be missing (botocore's lambda model, shape NamespacedFunctionName)."""


class FunctionName(NamedTuple):
    """What a function's name or ARN says; None for what it leaves out."""

    name: str
    qualifier: str | None
    region: str | None
    account: str | None


def function_arn(region: str, account_id: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{account_id}:function:{name}"


def parse_function(identifier: str) -> tuple[str, str | None]:
    """(name, qualifier or None) of a function name, partial ARN or full ARN. Raises ValueError for anything else."""
    return read_function(identifier)[:2]


def read_function(identifier: str) -> FunctionName:
    """As `parse_function`, with the region and account an ARN names."""
    match = _FUNCTION.match(identifier)
    if match is None:
        raise ValueError(f"not a function name or ARN: {identifier!r}")
    return FunctionName(match["name"], match["qualifier"], match["region"], match["account"])


def invocation_arn(region: str, lambda_arn: str) -> str:
    """The integration URI by which API Gateway names a function."""
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{lambda_arn}/invocations"
