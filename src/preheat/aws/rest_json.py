"""The restJson1 protocol: Lambda, API Gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.aws import json_codec
from preheat.aws.eventstream import EventStream
from preheat.aws.failures import unknown_operation
from preheat.aws.json_codec import Codec
from preheat.aws.model import Operation, ServiceModel, Shape
from preheat.aws.protocol import ERROR_TYPE, REQUEST_ID, error_shape, error_status
from preheat.aws.rest_request import RequestPlan
from preheat.aws.rest_response import ResponsePlan
from preheat.aws.routing import Router
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse


class RestJson:
    """A service over restJson1 (WireProtocol)."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._router = Router(list(model.operations.values()))
        self._readers: dict[str, Codec] = {}
        self._writers: dict[str, Codec | None] = {}
        self._requests: dict[str, RequestPlan] = {}
        self._responses: dict[str, ResponsePlan] = {}

    def recognises(self, request: HttpRequest) -> bool:
        """Whether an unsigned request has the shape of one of this service's operations."""
        return self._router.match(request.method, request.path, request.query) is not None

    def route(self, request: HttpRequest) -> tuple[Operation, Mapping[str, str]]:
        found = self._router.match(request.method, request.path, request.query)
        if found is None:
            raise unknown_operation(f"{self._model.name} has no operation {request.method} {request.path}.", 404)
        return found

    def parse(self, operation: Operation, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        if operation.input is None:
            return {}
        plan = self._requests.get(operation.name)
        if plan is None:
            plan = self._requests[operation.name] = RequestPlan(operation.input, self._readers)
        try:
            return plan.parse(request, labels)
        except json_codec.Mismatch as mismatch:
            raise (mismatch.in_java() if self._model.name == "apigateway" else mismatch) from None

    def serialize(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        if operation.output is None:
            return HttpResponse(operation.status, [(REQUEST_ID, request_id)])
        status, headers, body = self._response(operation.output).render(result, operation.status)
        headers = [(REQUEST_ID, request_id), *headers]
        if isinstance(body, EventStream):
            return HttpResponse(status, headers, stream=body)
        return HttpResponse(status, headers, body)

    def error(self, error: AwsError, request_id: str) -> HttpResponse:
        """Lambda's bodies carry `Type` beside the message; both are spelt as the error's shape spells them."""
        shape = error_shape(self._model, error)
        members: Mapping[str, Shape] = shape.members if shape is not None else {}
        located = {name: value for name, value in error.fields.items() if name in members}
        loose = {name: value for name, value in error.fields.items() if name not in members}
        typed = self._model.name == "lambda"
        content: dict[str, Any] = {"Type": error.fault} if typed and error.fault else {}
        spelt = "Message" if "Message" in members or (shape is None and typed) else "message"
        content[spelt] = error.message or None  # AWS's AccessDeniedException says nothing (recorded)
        headers = [(REQUEST_ID, request_id), ("Content-Type", "application/json"), (ERROR_TYPE, error.code)]
        if shape is not None and located:
            _, extra, body = self._response(shape).render(located, error.status)
            headers += [(name, value) for name, value in extra if name != "Content-Type"]
            content.update(json_codec.decode(body if isinstance(body, bytes) and body else b"{}"))
        return HttpResponse(error_status(shape, error), headers, json_codec.encode({**content, **loose}))

    def _response(self, shape: Shape) -> ResponsePlan:
        plan = self._responses.get(shape.name)
        if plan is None:
            plan = self._responses[shape.name] = ResponsePlan(shape, self._writers)
        return plan
