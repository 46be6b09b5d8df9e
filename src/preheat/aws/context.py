"""What an operation may know about the call besides its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from preheat.kernel.http import HttpRequest


@dataclass(frozen=True, slots=True)
class OperationContext:
    """One API call. `request_id` is what the client sees as `x-amzn-RequestId`.

    `service` is botocore's name (`lambda`, `apigateway`, ...); `access_key_id` is empty where the request
    was not signed; `http` is the request as received.
    """

    service: str
    operation: str
    region: str
    account_id: str
    access_key_id: str
    request_id: str
    http: HttpRequest
