"""CloudWatch Logs' errors in AWS's own words (FIDELITY: CloudWatch Logs)."""

from __future__ import annotations

from preheat.aws.failures import NOT_BUILT
from preheat.kernel.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def no_group() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def group_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log group already exists")


def stream_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")


def bad_token() -> AwsError:
    return invalid("The specified nextToken is invalid.")


def not_built(what: str) -> AwsError:
    return AwsError(NOT_BUILT, f"{what} is not built in preheat yet", 501)
