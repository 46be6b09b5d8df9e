"""The awsJson 1.0 and 1.1 protocols: POST /, `X-Amz-Target: <prefix>.<Operation>`, a JSON object each way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.aws import json_codec
from preheat.aws.failures import unknown_operation
from preheat.aws.json_codec import Codec
from preheat.aws.model import Operation, ServiceModel
from preheat.aws.protocol import ERROR_TYPE, error_shape, error_status, identity_headers, query_error_headers
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse


class JsonRpc:
    """A service over awsJson (WireProtocol)."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._content_type = f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.0')}"
        self._readers: dict[str, Codec] = {}
        self._writers: dict[str, Codec | None] = {}

    def route(self, request: HttpRequest) -> tuple[Operation, Mapping[str, str]]:
        target = request.header("x-amz-target") or ""
        operation = self._model.operations.get(target.rpartition(".")[2])
        if operation is None:
            raise unknown_operation(f"Unknown operation {target!r}.", 400)
        return operation, {}

    def parse(self, operation: Operation, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        if operation.input is None:
            return {}
        read = json_codec.reader(operation.input, self._readers)
        return dict(read(json_codec.decode(request.body or b"{}")))

    def serialize(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        body = b"{}"
        if operation.output is not None:
            write = json_codec.writer(operation.output, self._writers)
            body = json_codec.encode(write(result) if write else result)
        return HttpResponse(operation.status, identity_headers(request_id, self._content_type), body)

    def error(self, error: AwsError, request_id: str) -> HttpResponse:
        shape = error_shape(self._model, error)
        older = query_error_headers(self._model, error)
        content: dict[str, Any] = {"__type": shape.name if older and shape is not None else error.code}
        members = shape.members if shape is not None else {}
        content["Message" if "Message" in members else "message"] = error.message
        for name, value in error.fields.items():
            write = json_codec.writer(members[name], self._writers) if name in members else None
            content[members[name].wire_name(name) if name in members else name] = write(value) if write else value
        headers = [*identity_headers(request_id, self._content_type), (ERROR_TYPE, error.code), *older]
        return HttpResponse(error_status(shape, error), headers, json_codec.encode(content))
