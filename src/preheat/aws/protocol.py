"""What every wire protocol does, and what its answers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from preheat.aws.model import Operation, ServiceModel, Shape
from preheat.kernel.errors import AwsError
from preheat.kernel.http import Headers, HttpRequest, HttpResponse

REQUEST_ID = "x-amzn-RequestId"
ERROR_TYPE = "x-amzn-ErrorType"


class WireProtocol(Protocol):
    """One service over one protocol. Only `parse` and `route` raise AwsError; any other error is a fault here."""

    def route(self, request: HttpRequest) -> tuple[Operation, Mapping[str, str]]:
        """The operation asked for and the labels of its path; AwsError where the model has none such."""

    def parse(self, operation: Operation, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        """The operation's parameters, by botocore's member names and Python types, unvalidated."""

    def serialize(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpResponse: ...

    def error(self, error: AwsError, request_id: str) -> HttpResponse: ...


def error_status(shape: Shape | None, error: AwsError) -> int:
    """The error's own status; where it has only the default 400, the one its shape in the model states."""
    if shape is not None and error.status == 400:
        return int(shape.traits.get("error", {}).get("httpStatusCode", 400))
    return error.status


def error_shape(model: ServiceModel, error: AwsError) -> Shape | None:
    return model.errors.get(error.code)


def identity_headers(request_id: str, content_type: str) -> Headers:
    return [(REQUEST_ID, request_id), ("Content-Type", content_type)]


def query_error_headers(model: ServiceModel, error: AwsError) -> Headers:
    """The error's older code, for clients of a service that once spoke query (Smithy: awsQueryCompatible)."""
    if "awsQueryCompatible" not in model.metadata:
        return []
    return [("x-amzn-query-error", f"{error.code};{'Sender' if error.fault == 'User' else 'Receiver'}")]
