"""One request to an HTTP API, on its way to the response: what is known of it so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from preheat.kernel.http import HttpRequest
from preheat.services.apigateway.identifiers import RequestIds
from preheat.services.apigateway.v2.payload import Place, event_1_0
from preheat.services.apigateway.v2.store import Document


class Failure(Exception):
    """Ends a request with one of the gateway's own answers."""

    def __init__(self, status: int, message: str, why: str = "") -> None:
        super().__init__(why or message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Exchange:
    """`path` is the path below the stage. `stage` and `place` are there once routing found them."""

    request: HttpRequest
    ids: RequestIds
    path: str = "/"
    stage: Document | None = None
    place: Place | None = None
    started_ns: int = field(default_factory=time.monotonic_ns)
    integration: dict[str, Any] = field(default_factory=dict)
    """`$context.integration`: status, latency, Lambda's request id and, where it failed, error."""
    failure: Failure | None = None

    def context(self) -> dict[str, Any]:
        """`$context`, for parameter mappings and access logs.

        Source: developer guide, "Customize HTTP API access logs".
        """
        place = self.place
        if place is None:
            return {"requestId": self.ids.request, "extendedRequestId": self.ids.extended}
        bodiless = replace(self.request, body=b"")
        values: dict[str, Any] = {
            **event_1_0(bodiless, place, self.ids)["requestContext"],
            "awsEndpointRequestId": self.integration.get("requestId"),
            "routeKey": place.route_key,
            "stageVariables": place.stage_variables,
        }
        if self.integration:
            values["integration"] = self.integration
            values["integrationStatus"] = self.integration.get("integrationStatus")
            values["integrationLatency"] = self.integration.get("latency")
            values["integrationErrorMessage"] = self.integration.get("error")
        if self.failure is not None:
            message = self.failure.message
            values["error"] = {"message": message, "messageString": f'"{message}"'}
        return values
