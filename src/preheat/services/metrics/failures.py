"""CloudWatch's errors. `code` is the query protocol's, which every protocol of the service shows."""

from __future__ import annotations

from preheat.aws.failures import NOT_BUILT
from preheat.kernel.errors import AwsError


def invalid_value(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


def invalid_combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message)


def missing(message: str) -> AwsError:
    return AwsError("MissingParameter", message)


def invalid_query(message: str) -> AwsError:
    """A metric data query that cannot be run (GetMetricData)."""
    return AwsError("ValidationError", message)


def bad_token() -> AwsError:
    return AwsError("InvalidNextToken", "The service cannot process the provided nextToken.")


def not_built(what: str) -> AwsError:
    return AwsError(NOT_BUILT, f"{what} is not built in preheat yet", 501)
