"""One request to a deployed API, on its way through the pipeline: what is known of it so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from preheat.kernel.http import Headers, HttpRequest
from preheat.services.apigateway.event import event_fields
from preheat.services.apigateway.identifiers import RequestIds
from preheat.services.apigateway.models import ApiKey
from preheat.services.apigateway.stages import DeployedStage, Route


@dataclass(slots=True)
class Call:
    """`event` is the Lambda proxy event, in which the authorizer's and the key's findings are added.

    `overrides` are `$context.requestOverride` and `$context.responseOverride`, which templates write to.
    """

    request: HttpRequest
    stage: DeployedStage
    route: Route
    path: str
    path_parameters: dict[str, str]
    ids: RequestIds
    own_headers: Headers
    event: dict[str, Any] = field(init=False)
    started_ns: int = field(default_factory=time.monotonic_ns)
    api_key: ApiKey | None = None
    usage_identifier: str | None = None
    integration_status: int | None = None
    """What the backend answered: a proxy function's own statusCode."""
    service_status: int | None = None
    """What AWS's service answered, where there is one between: Lambda itself."""
    integration_ms: int | None = None
    integration_request_id: str | None = None
    """Lambda's own."""
    integration_error: str | None = None
    overrides: dict[str, Any] = field(init=False)
    log: list[str] | None = None
    """AWS's execution log, for those who test a method; nobody else pays for it."""

    def __post_init__(self) -> None:
        self.event = event_fields(self.request, self.stage, self.route, self.path, self.path_parameters, self.ids)
        self.overrides = {
            "requestOverride": {"header": {}, "path": {}, "querystring": {}},
            "responseOverride": {"header": {}, "status": 0},
        }

    def note(self, line: str) -> None:
        """One line of the execution log."""
        if self.log is not None:
            self.log.append(line)

    @property
    def method_arn(self) -> str:
        """What policies are about: arn:aws:execute-api:<region>:<account>:<api>/<stage>/<method>/<path>."""
        stage = self.stage
        where = f"{stage.api_id}/{stage.name}/{self.request.method}/{self.path.lstrip('/')}"
        return f"arn:aws:execute-api:{stage.region}:{stage.account_id}:{where}"

    def received(self, body: bytes) -> None:
        """Put another body in the request's place: the one that was compressed."""
        headers = [(name, value) for name, value in self.request.headers if name.lower() != "content-encoding"]
        self.request = replace(self.request, body=body, headers=headers)
        kept = self.event["requestContext"]
        self.event = event_fields(self.request, self.stage, self.route, self.path, self.path_parameters, self.ids)
        self.event["requestContext"] = kept

    def authorized(self, values: Mapping[str, Any]) -> None:
        """Take note of what the authorizer said: `$context.authorizer`."""
        self.event["requestContext"]["authorizer"] = dict(values)

    def identified(self, key: ApiKey) -> None:
        self.api_key = key
        self.event["requestContext"]["identity"].update(apiKey=key.value, apiKeyId=key.id)

    def query(self) -> dict[str, str]:
        found: dict[str, str] = self.event["queryStringParameters"] or {}
        return found

    def headers(self) -> dict[str, str]:
        found: dict[str, str] = self.event["headers"] or {}
        return found

    def context(self) -> dict[str, Any]:
        """`$context`, for mapping templates, parameter mappings, gateway responses and access logs."""
        values = {
            **self.event["requestContext"],
            "awsEndpointRequestId": self.integration_request_id,
            "integrationErrorMessage": self.integration_error,
            "xrayTraceId": self.ids.trace_header,
            **self.overrides,
        }
        if self.stage.is_canary or self.stage.canary is not None:
            values["isCanaryRequest"] = "true" if self.stage.is_canary else "false"
        if self.integration_status is not None:
            service = self.integration_status if self.service_status is None else self.service_status
            values["integrationStatus"] = service
            values["integrationLatency"] = self.integration_ms
            values["integration"] = {
                "status": self.integration_status,
                "integrationStatus": service,
                "latency": self.integration_ms,
                "requestId": self.integration_request_id,
                "error": self.integration_error,
            }
        return values
