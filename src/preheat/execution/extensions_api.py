"""The Extensions API (2020-01-01) and Telemetry API (2022-07-01) over HTTP, beside the Runtime API.

Error types, messages and the status 403 for all of them are AWS's emulator's (RIE, rapi/handler/agent*.go).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from preheat.execution.extensions import MAX_EXTENSIONS, Extension, Extensions
from preheat.execution.telemetry import Subscription
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.platformlog import PlatformLog

Respond = Callable[[HttpResponse], None]

PREFIXES = ("/2020-01-01/extension/", "/2022-07-01/telemetry", "/2020-08-15/logs")
_IDENTIFIER = "Lambda-Extension-Identifier"
_ERROR_TYPE = "Lambda-Extension-Function-Error-Type"
_JSON = ("Content-Type", "application/json")
_ACCEPTED = HttpResponse(202, [_JSON], b'{"status":"OK"}\n')
_WHY_NOT = {
    "Extension.RegistrationClosed": "Extension registration closed already",
    "Extension.TooManyExtensions": f"Extension limit ({MAX_EXTENSIONS}) reached",
    "Extension.InvalidExtensionState": "Extension with this name already registered",
}


class _Registration(msgspec.Struct):
    events: list[str] = []
    configurationKeys: list[str] = []


class _Refused(Exception):
    def __init__(self, error_type: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


class ExtensionsApi:
    """One launch's. `telemetry`: whether its extensions' listeners can be reached from here."""

    def __init__(self, extensions: Extensions, lines: PlatformLog, *, telemetry: bool) -> None:
        self._extensions = extensions
        self._lines = lines
        self._telemetry_built = telemetry

    def handle(self, request: HttpRequest, respond: Respond) -> None:
        """Answer by calling `respond` once, now or when there is an event."""
        routes: dict[tuple[str, str], Callable[[HttpRequest, Respond], None]] = {
            ("POST", "/2020-01-01/extension/register"): self._register,
            ("GET", "/2020-01-01/extension/event/next"): self._next,
            ("POST", "/2020-01-01/extension/init/error"): self._init_error,
            ("POST", "/2020-01-01/extension/exit/error"): self._exit_error,
            ("PUT", "/2022-07-01/telemetry"): self._subscribe,
            ("PUT", "/2020-08-15/logs"): self._logs,
        }
        path = request.path.rstrip("/")
        route = routes.get((request.method, path))
        try:
            if route is None:
                known = any(path == other for _, other in routes)
                raise _Refused("MethodNotAllowed" if known else "NotFound", request.path, 405 if known else 404)
            route(request, respond)
        except _Refused as refused:
            respond(_answer(refused.status, {"errorMessage": str(refused), "errorType": refused.error_type}))

    def _register(self, request: HttpRequest, respond: Respond) -> None:
        name = request.header("Lambda-Extension-Name") or ""
        if not name:
            raise _Refused("Extension.InvalidExtensionName", "Empty extension name")
        try:
            wish = msgspec.json.decode(request.body or b"{}", type=_Registration)
        except msgspec.DecodeError as error:
            raise _Refused("InvalidRequestFormat", str(error)) from error
        if wish.configurationKeys:
            why = "configurationKeys are deprecated; use environment variables instead"
            raise _Refused("InvalidRequestFormat", why)
        for event in wish.events:
            if event not in ("INVOKE", "SHUTDOWN"):
                raise _Refused("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
            if event == "SHUTDOWN" and self._extensions.expected(name) is None:
                why = "ShutdownEventNotSupportedForInternalExtension"
                raise _Refused("Extension.InvalidEventType", f"{event}: {why}")
        registered = self._extensions.register(name, wish.events)
        if isinstance(registered, str):
            raise _Refused(registered, _WHY_NOT[registered])
        function = self._extensions.function
        facts = {"functionName": function.name, "functionVersion": function.version, "handler": function.handler}
        features = (request.header("Lambda-Extension-Accept-Feature") or "").split(",")
        if "accountId" in [feature.strip() for feature in features]:
            facts["accountId"] = function.account_id
        respond(_answer(200, facts, registered.identity))

    def _next(self, request: HttpRequest, respond: Respond) -> None:
        extension = self._known(request)
        if extension.error_type is not None:
            raise _Refused("Extension.InvalidExtensionState", f"{extension.name} has reported an error")

        def deliver(event: dict[str, Any]) -> None:
            respond(_answer(200, event, extension.identity, ("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))))

        self._extensions.next(extension, deliver)

    def _init_error(self, request: HttpRequest, respond: Respond) -> None:
        self._failed(request, respond, "InitError")

    def _exit_error(self, request: HttpRequest, respond: Respond) -> None:
        self._failed(request, respond, "ExitError")

    def _failed(self, request: HttpRequest, respond: Respond, state: str) -> None:
        extension = self._known(request)
        error_type = request.header(_ERROR_TYPE)
        if not error_type:
            raise _Refused("Extension.MissingHeader", f"{_ERROR_TYPE} not found")
        respond(_ACCEPTED)
        self._extensions.failed(extension, state, error_type)

    def _subscribe(self, request: HttpRequest, respond: Respond) -> None:
        extension = self._known(request)
        if not self._telemetry_built:
            raise _Refused("Telemetry.NotSupported", "Telemetry API is not supported", 202)
        if not self._extensions.telemetry.open:
            raise _Refused("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed")
        try:
            wish = Subscription.read(request.body)
        except ValueError as error:
            raise _Refused("ValidationError", str(error), 400) from error
        self._extensions.subscribe(extension, wish, self._lines)
        respond(_answer(200, "OK"))

    def _logs(self, request: HttpRequest, respond: Respond) -> None:
        """The Telemetry API's predecessor: answered as the emulator does."""
        self._known(request)
        raise _Refused("Logs.NotSupported", "Logs API is not supported", 202)

    def _known(self, request: HttpRequest) -> Extension:
        identity = request.header(_IDENTIFIER)
        if not identity:
            raise _Refused("Extension.MissingExtensionIdentifier", f"Missing {_IDENTIFIER} header")
        try:
            identity = str(uuid.UUID(identity))
        except ValueError:
            raise _Refused("Extension.InvalidExtensionIdentifier", f"Invalid {_IDENTIFIER}") from None
        extension = self._extensions.find(identity)
        if extension is None:
            raise _Refused("Extension.UnknownExtensionIdentifier", f"Unknown extension {identity}")
        return extension


def _answer(status: int, content: Any, identity: str = "", *headers: tuple[str, str]) -> HttpResponse:
    own = [(_IDENTIFIER, identity)] if identity else []
    return HttpResponse(status, [_JSON, *own, *headers], msgspec.json.encode(content))
