"""The awsQuery protocol: `Action` and `Version` with a form, XML back. STS, IAM and older CloudWatch clients use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.aws import form_codec, xml_codec
from preheat.aws.failures import invalid_action
from preheat.aws.form_codec import FormReader, Tree
from preheat.aws.model import Operation, ServiceModel
from preheat.aws.protocol import ERROR_TYPE, error_shape, error_status, identity_headers
from preheat.aws.xml_codec import XmlWriter
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse

_XML = "text/xml"


class Query:
    """A service over awsQuery (WireProtocol)."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._namespace = xml_codec.escape(str(model.metadata.get("xmlNamespace", "")))
        self._readers: dict[str, FormReader] = {}
        self._writers: dict[str, XmlWriter] = {}

    def route(self, request: HttpRequest) -> tuple[Operation, Mapping[str, str]]:
        form = request_form(request)
        action, version = form_value(form, "Action"), form_value(form, "Version")
        operation = self._model.operations.get(action)
        if operation is None:
            raise invalid_action(action, version)
        return operation, {}

    def parse(self, operation: Operation, request: HttpRequest, labels: Mapping[str, str]) -> dict[str, Any]:
        if operation.input is None:
            return {}
        params = form_codec.reader(operation.input, self._readers)(request_form(request))
        return dict(params)

    def serialize(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        content = ""
        if operation.output is not None:
            content = xml_codec.writer(operation.output, self._writers)(operation.result_wrapper, result)
        metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        return self._answer(200, f"{operation.name}Response", content + metadata, request_id)

    def error(self, error: AwsError, request_id: str) -> HttpResponse:
        shape = error_shape(self._model, error)
        members = shape.members if shape is not None else {}
        fault = "Sender" if error.fault == "User" else "Receiver"
        content = "".join(
            f"<{name}>{xml_codec.escape(text)}</{name}>"
            for name, text in (("Type", fault), ("Code", error.code), ("Message", error.message))
        )
        for name, value in error.fields.items():
            if name in members:
                content += xml_codec.writer(members[name], self._writers)(members[name].wire_name(name), value)
        body = f"<Error>{content}</Error><RequestId>{request_id}</RequestId>"
        response = self._answer(error_status(shape, error), "ErrorResponse", body, request_id)
        response.headers.append((ERROR_TYPE, error.code))
        return response

    def _answer(self, status: int, root: str, content: str, request_id: str) -> HttpResponse:
        namespace = f' xmlns="{self._namespace}"' if self._namespace else ""
        body = f"<{root}{namespace}>{content}</{root}>".encode()
        return HttpResponse(status, identity_headers(request_id, _XML), body)


def request_form(request: HttpRequest) -> Tree:
    """The form of a POST, or of a GET's query string (presigned STS calls come so)."""
    return form_codec.decode(request.body or request.query.encode("latin-1", "replace"))


def form_value(form: Tree, name: str) -> str:
    return str(form.get(name, {}).get("", ""))
