"""The rpcv2Cbor protocol: POST /service/<prefix>/operation/<Operation>, a CBOR map each way. CloudWatch speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.aws import cbor_codec, json_codec
from preheat.aws.failures import unknown_operation
from preheat.aws.json_codec import Codec
from preheat.aws.model import Operation, ServiceModel
from preheat.aws.protocol import ERROR_TYPE, error_shape, error_status, identity_headers, query_error_headers
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse

MARK = "rpc-v2-cbor"
"""What both sides send as `smithy-protocol` (Smithy: RPC v2 CBOR protocol, "Protocol behaviors")."""


class CborRpc:
    """A service over rpcv2Cbor (WireProtocol). Requests are read by the JSON readers: only scalars differ."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._readers: dict[str, Codec] = {}

    def route(self, request: HttpRequest) -> tuple[Operation, Mapping[str, str]]:
        operation = self._model.operations.get(request.path.rpartition("/operation/")[2])
        if operation is None:
            raise unknown_operation(f"Unknown operation {request.path!r}.", 404)
        return operation, {}

    def parse(self, operation: Operation, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        if operation.input is None or not request.body:
            return {}
        return dict(json_codec.reader(operation.input, self._readers)(cbor_codec.decode(request.body)))

    def serialize(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        return self._answer(operation.status, cbor_codec.encode(operation.output, result), request_id)

    def error(self, error: AwsError, request_id: str) -> HttpResponse:
        import cbor2

        shape = error_shape(self._model, error)
        members = shape.members if shape is not None else {}
        name = shape.name if shape is not None else error.code
        content: dict[str, Any] = {"__type": name, "Message" if "Message" in members else "message": error.message}
        content.update({key: value for key, value in error.fields.items() if key in members})
        body = cbor2.dumps(content, datetime_as_timestamp=True)
        response = self._answer(error_status(shape, error), body, request_id)
        response.headers += [(ERROR_TYPE, name), *query_error_headers(self._model, error)]
        return response

    def _answer(self, status: int, body: bytes, request_id: str) -> HttpResponse:
        headers = [*identity_headers(request_id, "application/cbor"), ("smithy-protocol", MARK)]
        return HttpResponse(status, headers, body)


def target_prefix(request: HttpRequest) -> str:
    """The service a rpcv2Cbor request names in its path; "" where it is none."""
    parts = request.path.split("/")
    spoken = request.header("smithy-protocol") == MARK
    return parts[-3] if spoken and len(parts) >= 5 and (parts[-4], parts[-2]) == ("service", "operation") else ""
