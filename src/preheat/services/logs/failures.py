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


def no_group_named(name: str, account_id: str) -> AwsError:
    """StartQuery names the group that is missing."""
    message = f"Log group '{name}' does not exist for account ID '{account_id}'"
    return AwsError("ResourceNotFoundException", message)


def both_name_and_arn() -> AwsError:
    return AwsError("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")


def signed(error: AwsError, request_id: str) -> AwsError:
    """StartQuery's errors end in words of an inner service (recorded on AWS)."""
    tail = f"Service: AWSLogs; Status Code: 400; Error Code: {error.code}; Request ID: {request_id}; Proxy: null"
    return AwsError(error.code, f"{error.message} ({tail})", error.status, fields=error.fields)


def no_query() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified query does not exist.")


def malformed_range(start_s: int, end_s: int) -> AwsError:
    """A query over a time before its log groups were made (the words are AWS's)."""
    message = (
        "Query's end date and time is either before the log groups creation time or exceeds the log groups log "
        f"retention settings ([{start_s * 1000},{end_s * 1000}])"
    )
    return AwsError("MalformedQueryException", message)


def bad_token() -> AwsError:
    return invalid("The specified nextToken is invalid.")


def not_built(what: str) -> AwsError:
    return AwsError(NOT_BUILT, f"{what} is not built in preheat yet", 501)
