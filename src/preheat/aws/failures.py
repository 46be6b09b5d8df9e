"""Errors the wire itself answers with, before or instead of a provider, in AWS's codes."""

from __future__ import annotations

from preheat.kernel.errors import AwsError

NOT_BUILT = "NotImplementedException"


def malformed(message: str) -> AwsError:
    """What AWS's servers call a body or parameter that does not fit its type."""
    return AwsError("SerializationException", message, 400)


def unknown_operation(message: str, status: int) -> AwsError:
    """404 from REST services, 400 from those that always POST to /."""
    return AwsError("UnknownOperationException", message, status)


def invalid_action(action: str, version: str) -> AwsError:
    """The query protocol's word for an operation that does not exist (IAM and STS say it so)."""
    return AwsError("InvalidAction", f"Could not find operation {action} for version {version}", 400)


def operation_not_built(service: str, operation: str) -> AwsError:
    return AwsError(NOT_BUILT, f"The operation {service}:{operation} is not built in preheat.", 501)


def service_not_built(service: str) -> AwsError:
    return AwsError(NOT_BUILT, f"The service {service!r} is not built in preheat.", 501)


def unrecognised() -> AwsError:
    """A request that is neither signed nor shaped like any API served here."""
    return AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)


def internal_failure(service: str) -> AwsError:
    """A fault of ours. Lambda's model has its own shape for it; the rest share AWS's common error."""
    if service == "lambda":
        message = "An error occurred and the request cannot be processed."
        return AwsError("ServiceException", message, 500)
    message = "The request processing has failed because of an unknown error, exception or failure."
    return AwsError("InternalFailure", message, 500)
