"""The Lambda API's errors in AWS's own words, built in one place."""

from __future__ import annotations

from collections.abc import Sequence

from preheat.aws.failures import NOT_BUILT
from preheat.kernel.errors import AwsError


def invalid(message: str, *, typed: bool = True) -> AwsError:
    """`typed` is whether AWS's answer has a `Type`: a few have none (recorded)."""
    return AwsError("InvalidParameterValueException", message, fault=None if typed else "")


def problem(value: object, member: str, rule: str) -> str:
    return f"Value '{value}' at '{member}' failed to satisfy constraint: {rule}"


def constraints(problems: Sequence[str]) -> AwsError:
    """What AWS answers when members break their model's constraints."""
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
    return AwsError("ValidationException", count + "; ".join(problems))


def constraint(value: object, member: str, rule: str) -> AwsError:
    return constraints([problem(value, member, rule)])


def not_found(message: str, *, typed: bool = True) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 404, fault=None if typed else "")


def function_not_found(arn: str) -> AwsError:
    return not_found(f"Function not found: {arn}")


def conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message, 409)


def not_now(reason: str) -> AwsError:
    """The 409 of an operation that the function's state forbids (FIDELITY: Invoke API, Image functions)."""
    return conflict(f"The operation cannot be performed at this time. {reason}")


def too_large(message: str) -> AwsError:
    return AwsError("RequestEntityTooLargeException", message, 413)


def precondition_failed(message: str) -> AwsError:
    return AwsError("PreconditionFailedException", message, 412)


def function_only() -> AwsError:
    return invalid(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )


def revision_mismatch() -> AwsError:
    return precondition_failed(
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )


def not_built(what: str) -> AwsError:
    """For what AWS has and Preheat does not yet: never a silent success."""
    return AwsError(NOT_BUILT, f"{what} is not built in preheat yet", 501)
