"""One AWS request to one provider method and back."""

from __future__ import annotations

import inspect
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from preheat.aws import compression, failures, query
from preheat.aws.cbor_rpc import CborRpc, target_prefix
from preheat.aws.context import OperationContext
from preheat.aws.json_rpc import JsonRpc
from preheat.aws.model import Operation, ServiceModel, load_service
from preheat.aws.protocol import WireProtocol
from preheat.aws.query import Query
from preheat.aws.rest_json import RestJson
from preheat.aws.validation import Validator
from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest, HttpResponse

_log = logging.getLogger(__name__)

_PROTOCOLS: dict[str, Callable[[ServiceModel], WireProtocol]] = {
    "rest-json": RestJson,
    "json": JsonRpc,
    "query": Query,
    "smithy-rpc-v2-cbor": CborRpc,
}
_SIGNING_NAMES = {"monitoring": "cloudwatch"}
"""Where the name in a signature is not botocore's."""

_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_XML_SERVICES = frozenset({"s3", "s3express", "route53", "cloudfront", "ec2"})
"""Services whose errors clients read as XML though their requests are no forms (botocore: metadata.protocol)."""

Method = Callable[[OperationContext, dict[str, Any]], Any]


class Dispatcher:
    """Finds the service of a request, calls its provider and always answers.

    `providers` maps botocore's service names to objects with one method per built operation.
    """

    def __init__(self, providers: Mapping[str, object], *, region: str, account_id: str) -> None:
        self._endpoints = {name: _Endpoint(name, provider, region, account_id) for name, provider in providers.items()}

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to one API call; never raises but for cancellation."""
        request_id = str(uuid.uuid4())
        try:
            access_key_id, service = _credential(request)
            endpoint = self._endpoint(request, service)
            request.body = compression.decompressed(request)
        except AwsError as error:
            return _plain_error(request, error, request_id)
        if endpoint is None:
            refusal = failures.service_not_built(service) if service else failures.unrecognised()
            return _plain_error(request, refusal, request_id, service)
        return await endpoint.handle(request, access_key_id, request_id)

    def _endpoint(self, request: HttpRequest, service: str) -> _Endpoint | None:
        if service:
            # two versions of API Gateway share a signing name
            both = service == "apigateway" and request.path.startswith("/v2/")
            return self._endpoints.get("apigatewayv2" if both else _SIGNING_NAMES.get(service, service))
        target = request.header("x-amz-target")
        prefix = target_prefix(request) if target is None else target.rpartition(".")[0]
        if prefix:
            return self._find(lambda endpoint: endpoint.model.metadata.get("targetPrefix") == prefix)
        if _is_form(request) or "Action=" in request.query:
            return self._by_action(request)
        return self._find(lambda endpoint: endpoint.recognises(request))

    def _by_action(self, request: HttpRequest) -> _Endpoint | None:
        form = query.request_form(request)
        action, version = query.form_value(form, "Action"), query.form_value(form, "Version")

        def serves(endpoint: _Endpoint) -> bool:
            model = endpoint.model
            same_version = not version or model.metadata["apiVersion"] == version
            return "query" in model.protocols and same_version and action in model.operations

        return self._find(serves)

    def _find(self, wanted: Callable[[_Endpoint], bool]) -> _Endpoint | None:
        return next((endpoint for endpoint in self._endpoints.values() if wanted(endpoint)), None)


class _Endpoint:
    """One service: its model and protocol (loaded at first use) and its provider."""

    def __init__(self, name: str, provider: object, region: str, account_id: str) -> None:
        self._name = name
        self._provider = provider
        self._region = region
        self._account_id = account_id
        self._methods: dict[str, Method] = {}
        self._protocols: dict[str, WireProtocol] = {}
        self._validator: Validator | None = None

    @property
    def model(self) -> ServiceModel:
        return load_service(self._name)

    def recognises(self, request: HttpRequest) -> bool:
        protocol = self._protocol(request)
        return isinstance(protocol, RestJson) and protocol.recognises(request)

    async def handle(self, request: HttpRequest, access_key_id: str, request_id: str) -> HttpResponse:
        """The answer, whatever the provider does: its AwsErrors as they are, anything else as a fault of ours."""
        protocol, validator = self._protocol(request), self._validate()
        try:
            try:
                operation, labels = protocol.route(request)
                method = self._method(operation)
                params = protocol.parse(operation, request, labels)
                validator.validate(operation, params)
                result = method(self._context(operation, request, access_key_id, request_id), params)
                if type(result) is not dict and inspect.isawaitable(result):
                    result = await result
                return protocol.serialize(operation, result or {}, request_id)
            except AwsError as error:
                return protocol.error(error, request_id)
        except Exception:  # a result or an error that does not fit the model counts among these
            _log.exception("%s %s failed, request id %s", request.method, request.path, request_id)
            return protocol.error(failures.internal_failure(self._name), request_id)

    def _context(
        self, operation: Operation, request: HttpRequest, access_key_id: str, request_id: str
    ) -> OperationContext:
        return OperationContext(
            service=self._name,
            operation=operation.name,
            region=self._region,
            account_id=self._account_id,
            access_key_id=access_key_id,
            request_id=request_id,
            http=request,
        )

    def _protocol(self, request: HttpRequest) -> WireProtocol:
        model = self.model
        name = _spoken(request, model.protocols)
        if name not in self._protocols:
            self._protocols[name] = _PROTOCOLS[name](model)
        return self._protocols[name]

    def _validate(self) -> Validator:
        if self._validator is None:
            self._validator = Validator(self.model)
        return self._validator

    def _method(self, operation: Operation) -> Method:
        method = self._methods.get(operation.name)
        if method is None:
            method = getattr(self._provider, method_name(operation.name), None)
            if method is None:
                raise failures.operation_not_built(self._name, operation.name)
            self._methods[operation.name] = method
        return method


def method_name(operation: str) -> str:
    """CreateFunction -> create_function (botocore.xform_name's rule)."""
    partly = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", operation)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", partly).lower()


def _spoken(request: HttpRequest, protocols: list[str]) -> str:
    """Which of a service's protocols a request is in: each leaves a mark of its own on it."""
    if len(protocols) == 1:
        return protocols[0]
    if target_prefix(request):
        return "smithy-rpc-v2-cbor"
    return "query" if request.header("x-amz-target") is None else "json"


def _credential(request: HttpRequest) -> tuple[str, str]:
    """(access key id, service) of a signed request; empty where it is not. Signatures are not checked.

    A credential is `<key id>/<date>/<region>/<service>/aws4_request` (AWS: Signature Version 4). Signature
    4A leaves the region out.
    """
    header = request.header("authorization")
    scope = ""
    if header is not None and (found := _CREDENTIAL.search(header)) is not None:
        scope = found[1]
    elif "X-Amz-Credential" in request.query:
        scope = parse_qs(request.query).get("X-Amz-Credential", [""])[0]
    parts = scope.split("/")
    return (parts[0], parts[-2]) if len(parts) >= 4 else ("", "")


def _is_form(request: HttpRequest) -> bool:
    return (request.header("content-type") or "").startswith("application/x-www-form-urlencoded")


def _plain_error(request: HttpRequest, error: AwsError, request_id: str, service: str = "") -> HttpResponse:
    """An error before any service's model applies, in the syntax that this kind of client reads."""
    if _is_form(request) or service in _XML_SERVICES:
        protocol = "query"
    elif target_prefix(request):
        protocol = "smithy-rpc-v2-cbor"
    else:
        protocol = "json" if request.header("x-amz-target") is not None else "rest-json"
    model = ServiceModel(service, {"metadata": {"protocol": protocol}, "operations": {}})
    return _PROTOCOLS[protocol](model).error(error, request_id)
