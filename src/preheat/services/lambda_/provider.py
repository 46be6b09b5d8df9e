"""AWS Lambda's operations on functions, and Invoke."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invoker
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.settings import Settings
from preheat.services.lambda_ import validation
from preheat.services.lambda_.access import AccessOperations
from preheat.services.lambda_.code import CodeStore
from preheat.services.lambda_.failures import constraint, function_not_found, invalid
from preheat.services.lambda_.invocations import Invocations
from preheat.services.lambda_.models import LATEST, Function, configuration, last_modified_now, listed
from preheat.services.lambda_.registry import FunctionRegistry
from preheat.services.lambda_.store import FunctionStore

_PAGE = 50
"""ListFunctions gives at most 50 items a page, whatever MaxItems says (API reference)."""

HOT_RELOAD_BUCKET = "hot-reload"
"""The bucket name by which local emulators' users give a directory instead of a zip."""


class LambdaProvider(AccessOperations):
    """One method per operation; also the `FunctionDirectory` of the whole program.

    `start` before the first request, `close` after the last. `interpreter` gives the Python of a runtime's
    name (PreheatError where there is none).
    """

    def __init__(self, settings: Settings, invoker: Invoker, interpreter: Callable[[str], Path]) -> None:
        self._settings = settings
        self._code = CodeStore(settings.data_dir, interpreter)
        store = FunctionStore(settings.data_dir / "lambda.db")
        registry = FunctionRegistry(store, self._code, invoker, settings.region, settings.account_id)
        super().__init__(registry, settings.account_concurrency)
        self._invocations = Invocations(registry, invoker)
        self.resolve: Callable[..., FunctionVersion] = registry.resolve
        self.invoke_http = self._invocations.invoke_http

    async def start(self) -> None:
        """Take up what an earlier server left unfinished."""
        await self._registry.start()

    async def close(self) -> None:
        await self._registry.close()

    async def settled(self) -> None:
        """Wait until no function is Pending or InProgress."""
        await self._registry.settled()

    async def collect(self, in_use: Iterable[str] = ()) -> list[str]:
        """Remove code of deleted and updated functions, but not the `in_use` code_dirs of living environments."""
        return await self._registry.collect(in_use)

    async def download_code(self, request: HttpRequest) -> HttpResponse:
        """Answer GET /_preheat/code/<id>.zip, where GetFunction's Code.Location points."""
        return await self._code.download(request)

    # functions

    async def create_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        name, qualifier = self._registry.parse(params["FunctionName"])
        if qualifier is not None or len(name) > validation.MAX_NAME:
            rule = f"Member must have length less than or equal to {validation.MAX_NAME}"
            raise constraint(params["FunctionName"], "functionName", rule)
        if not params.get("Runtime") or not params.get("Handler"):
            raise invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        function = Function(
            name=name,
            arn=self._registry.arn(name),
            revision_id=str(uuid.uuid4()),
            last_modified=last_modified_now(),
            **validation.fields(params),
        )
        with self._registry.creating(name):
            await asyncio.to_thread(self._code.interpreter, function.runtime)
            async with self._code.adding(_source(params["Code"])) as package:
                function = replace(function, code_sha256=package.sha256, code_size=package.size_bytes)
                self._registry.create(function)
        return configuration(function)

    def get_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function, qualified = self._find(params)
        answer: dict[str, Any] = {
            "Configuration": configuration(function, qualified=qualified),
            "Code": {"RepositoryType": "S3", "Location": self._location(context, function)},
        }
        if function.tags:
            answer["Tags"] = function.tags
        if function.reserved_concurrency is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
        return answer

    def get_function_configuration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function, qualified = self._find(params)
        return configuration(function, qualified=qualified)

    def _find(self, params: dict[str, Any]) -> tuple[Function, bool]:
        """(function, whether the request named a version)."""
        identifier, qualifier = params["FunctionName"], params.get("Qualifier")
        function = self._registry.find(identifier, qualifier)
        return function, self._registry.parse(identifier, qualifier)[1] is not None

    def _location(self, context: OperationContext, function: Function) -> str:
        host = context.http.header("host") or f"{self._settings.host}:{self._settings.port}"
        return f"http://{host}/_preheat/code/{function.code_id}.zip"

    def list_functions(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        after = _name_of(params["Marker"]) if params.get("Marker") else ""
        page = max(1, min(params.get("MaxItems") or _PAGE, _PAGE))
        rest = [function for function in self._registry.store if function.name > after]
        answer: dict[str, Any] = {"Functions": [listed(function) for function in rest[:page]]}
        if params.get("FunctionVersion") == "ALL":
            for item in answer["Functions"]:
                item["FunctionArn"] += f":{LATEST}"
        if len(rest) > page:
            answer["NextMarker"] = _marker(rest[page - 1].name)
        return answer

    def delete_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        if qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        self._registry.delete(self._registry.find(name, qualifier))
        return {"StatusCode": 204}

    async def update_function_code(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        function = self._registry.find(params["FunctionName"])
        fields = validation.fields({"Architectures": params.get("Architectures")})
        with self._registry.changing(function):
            validation.check_revision(params.get("RevisionId"), function.revision_id)
            async with self._code.adding(_source(params)) as package:
                function = self._unchanged(function)
                new = _revised(function, {**fields, "code_sha256": package.sha256, "code_size": package.size_bytes})
                if not params.get("DryRun"):
                    new = self._registry.update(function, new)
        return configuration(new)

    async def update_function_configuration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        function = self._registry.find(params["FunctionName"])
        fields = validation.fields(params)
        with self._registry.changing(function):
            validation.check_revision(params.get("RevisionId"), function.revision_id)
            if "runtime" in fields:
                await asyncio.to_thread(self._code.interpreter, fields["runtime"])
                function = self._unchanged(function)
            new = self._registry.update(function, _revised(function, fields))
        return configuration(new)

    def _unchanged(self, function: Function) -> Function:
        """The function as it is after some waiting; 404 if it was deleted meanwhile (and perhaps made anew)."""
        current = self._registry.find(function.name)
        if current.revision_id != function.revision_id:
            raise function_not_found(function.arn)
        return current

    # invoke

    async def invoke(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        started = self._invocations.start(
            params["FunctionName"],
            params.get("Payload") or b"",
            request_id=context.request_id,
            received_ns=context.http.received_ns,
            qualifier=params.get("Qualifier"),
            invocation_type=params.get("InvocationType") or "RequestResponse",
            client_context=params.get("ClientContext") or "",
            trace_id=context.http.header("x-amzn-trace-id") or "",
        )
        if started is None:
            return {"StatusCode": 204}
        result = await asyncio.shield(started)  # whoever asked may go away: the function runs to its end
        answer: dict[str, Any] = {
            "StatusCode": 200,
            "ExecutedVersion": result.executed_version,
            "Payload": result.payload,
        }
        if result.function_error:
            answer["FunctionError"] = result.function_error
        if params.get("LogType") == "Tail":
            answer["LogResult"] = base64.b64encode(result.log_tail).decode()
        return answer


def _source(code: dict[str, Any]) -> bytes | Path:
    """What to make the package from: the zip's bytes, or a directory's path."""
    if "ZipFile" in code:
        return bytes(code["ZipFile"])
    if code.get("S3Bucket") == HOT_RELOAD_BUCKET:
        return Path(code.get("S3Key") or "")
    if code.get("S3Bucket"):
        raise AwsError(
            "InvalidParameterValueException",
            f"Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: there is no S3 here, so "
            f"bucket {code['S3Bucket']!r} does not exist; upload a ZipFile, or give a directory as "
            f"S3Bucket={HOT_RELOAD_BUCKET},S3Key=<absolute directory>",
        )
    raise invalid("Please provide a source for function code.")


def _revised(function: Function, fields: dict[str, Any]) -> Function:
    """A new revision of a function with some fields changed."""
    return replace(function, **fields, revision_id=str(uuid.uuid4()), last_modified=last_modified_now())


def _marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_of(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker).decode()
    except ValueError as error:
        raise invalid("Invalid Marker") from error
