"""AWS Lambda's operations on functions, and Invoke."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.function import FunctionVersion, Invoker, InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.image import ImagePreparer, ImageSource
from preheat.kernel.settings import Settings
from preheat.kernel.stream import ResponseStream
from preheat.services.lambda_ import streaming, validation
from preheat.services.lambda_.asynchronous import EventQueue
from preheat.services.lambda_.attachments import Attached
from preheat.services.lambda_.code import CodeStore
from preheat.services.lambda_.event_config import EventConfigOperations
from preheat.services.lambda_.event_sources import EventSourceOperations
from preheat.services.lambda_.failures import conflict, function_not_found, invalid
from preheat.services.lambda_.images import Images, check_code_members, check_configuration_members, check_members
from preheat.services.lambda_.invocations import Invocations
from preheat.services.lambda_.layers import LayerOperations
from preheat.services.lambda_.management import ManagementOperations
from preheat.services.lambda_.models import LATEST, Function, configuration, last_modified_now, listed, new_id, revised
from preheat.services.lambda_.pages import page, version_key
from preheat.services.lambda_.provisioned import ProvisionedOperations, Provisioning
from preheat.services.lambda_.queue_files import QueueFiles
from preheat.services.lambda_.registry import FunctionRegistry
from preheat.services.lambda_.signing import SigningOperations
from preheat.services.lambda_.sources import source
from preheat.services.lambda_.store import FunctionStore
from preheat.services.lambda_.urls import UrlOperations
from preheat.services.lambda_.versions import VersionOperations


class LambdaProvider(
    ProvisionedOperations,
    VersionOperations,
    EventConfigOperations,
    EventSourceOperations,
    UrlOperations,
    LayerOperations,
    SigningOperations,
    ManagementOperations,
):
    """One method per operation; also the `FunctionDirectory` and `UrlDirectory` of the whole program.

    `start` before the first request, `close` after the last. `interpreter` gives the Python of a runtime's
    name (PreheatError where there is none); without `images`, functions of container images are refused;
    `preparer` makes images ready (for the container sandbox, without it).
    """

    def __init__(
        self,
        settings: Settings,
        invoker: Invoker,
        interpreter: Callable[[str], Path],
        images: ImageSource | None = None,
        preparer: ImagePreparer | None = None,
    ) -> None:
        self._settings = settings
        self._account_concurrency = settings.account_concurrency
        self._code = CodeStore(settings.data_dir, interpreter)
        store = FunctionStore(settings.data_dir / "lambda.db")
        self._images = Images(images, preparer)
        self._registry = registry = FunctionRegistry(
            store, self._code, self._images, invoker, settings.region, settings.account_id
        )
        self._url_index = {}
        self._provisioning = Provisioning(registry)
        self._queue = EventQueue(registry, QueueFiles(settings.data_dir), settings.async_retry_s)
        self._invocations = Invocations(registry, invoker, self._queue)
        self.resolve: Callable[..., FunctionVersion] = registry.resolve
        self.invoke_http = self._invocations.invoke_http

    async def start(self) -> None:
        """Take up what an earlier server left unfinished."""
        await self._registry.start()
        self._provisioning.start()
        self._queue.start()

    async def close(self) -> None:
        await self._queue.close()
        await self._registry.close()

    async def settled(self) -> None:
        """Wait until no version is Pending and no function InProgress."""
        await self._registry.settled()

    async def drained(self) -> None:
        """Wait until every accepted event has been dealt with."""
        await self._queue.drained()

    async def collect(self, in_use: Iterable[str] = ()) -> list[str]:
        """Remove code of deleted and updated functions, but not the `in_use` code_dirs of living environments."""
        return await self._registry.collect(in_use)

    def accept_event(self, identifier: str, payload: bytes, request_id: str, trace_id: str) -> None:
        """`kernel.function.EventIntake`, for API Gateway's asynchronous integrations."""
        self._invocations.start(
            identifier, payload, invocation_type="Event", request_id=request_id, received_ns=0, trace_id=trace_id
        )

    async def download_code(self, request: HttpRequest) -> HttpResponse:
        """Answer GET /_preheat/code/<id>.zip, where GetFunction's Code.Location points."""
        return await self._code.download(request)

    # functions

    async def create_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        name = self._registry.new_name(params["FunctionName"])
        validation.check_request_size(context.http.body, params["Code"])
        check_members(params)
        signing = self._signing_used(params["CodeSigningConfigArn"]) if params.get("CodeSigningConfigArn") else ""
        attached = Attached(tags=validation.check_tags(params.get("Tags") or {}), code_signing=signing)
        function = Function(
            name=name,
            arn=self._registry.arn(name),
            revision_id=new_id(),
            pool_id=new_id(),
            last_modified=last_modified_now(),
            **self._fields(params),
        )
        with self._registry.creating(name):
            async with self._package(params["Code"], function) as made:
                await self._check_size(made)
                self._registry.create(made, attached)
                if params.get("Publish"):
                    return configuration(self._registry.publish(made))  # its ARN unqualified (recorded on AWS)
        return configuration(made)

    @asynccontextmanager
    async def _package(self, code: dict[str, Any], function: Function) -> AsyncIterator[Function]:
        """The function with the code given: an image's, or a package that `collect` spares in this context."""
        if code.get("ImageUri"):
            image = self._images.resolve(code["ImageUri"], function.architectures[0])
            digest = image.digest.removeprefix("sha256:")
            yield replace(function, image=image, image_uri=code["ImageUri"], code_sha256=digest, code_size=0)
            return
        await asyncio.to_thread(self._code.interpreter, function.runtime)
        async with self._code.adding(source(code)) as package:
            yield replace(function, code_sha256=package.sha256, code_size=package.size_bytes)

    def get_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function, qualifier = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        attached = self._registry.store.attached(function.name)
        answer: dict[str, Any] = {
            "Configuration": configuration(function, qualifier),
            "Code": self._code_shown(context, function),
        }
        if attached.tags:
            answer["Tags"] = attached.tags
        if attached.reserved_concurrency is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": attached.reserved_concurrency}
        return answer

    def _code_shown(self, context: OperationContext, function: Function) -> dict[str, Any]:
        if function.image is None:
            return {"RepositoryType": "S3", "Location": self._location(context, function.code_id)}
        return {
            "RepositoryType": "ECR",
            "ImageUri": function.image_uri,
            "ResolvedImageUri": function.image.uri,
        }

    def get_function_configuration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return configuration(*self._registry.find(params["FunctionName"], params.get("Qualifier")))

    def list_functions(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        functions, every = list(self._registry.store), params.get("FunctionVersion") == "ALL"
        if every:
            functions = [version for latest in functions for version in self._registry.store.versions(latest.name)]
        return page(
            "Functions",
            functions,
            lambda function: f"{function.name}\0{version_key(function.version)}",
            params,
            lambda function: listed(function, qualified=every),
        )

    def delete_function(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        if qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        if qualifier and "$" in qualifier:
            return {"StatusCode": 204}  # no version and no alias (recorded on AWS: "$latest")
        if qualifier and not qualifier.isdigit():
            raise invalid("Deletion of aliases is not currently supported.")
        function, _ = self._registry.find(name)
        if qualifier is None:
            self._registry.delete(function)
        else:
            self._delete_version(name, qualifier)
        return {"StatusCode": 204}

    def _delete_version(self, name: str, qualifier: str) -> None:
        """One that does not exist is as good as deleted (recorded on AWS)."""
        aliases = self._registry.store.attached(name).aliases
        users = [alias.name for alias in aliases.values() if qualifier in (alias.version, *alias.weights)]
        if users:
            raise conflict(f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]")
        version = self._registry.store.get(name, qualifier)
        if version is not None:
            self._registry.delete_version(version)
            self.forget_qualifier(name, qualifier)

    async def update_function_code(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        function = self._registry.function(params["FunctionName"])
        fields = validation.fields({"Architectures": params.get("Architectures")})
        with self._registry.changing(function):
            validation.check_revision(params.get("RevisionId"), function.revision_id)
            check_code_members(function.package_type, params)
            async with self._package(params, replace(function, **fields)) as made:
                await self._check_size(made)
                self._unchanged(function)
                new = revised(made, {})
                if params.get("DryRun"):
                    return configuration(new)
                new = self._registry.update(function, new)
                if params.get("Publish"):
                    version = self._registry.publish(new)
                    return configuration(version, version.version)
        return configuration(new)

    async def update_function_configuration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        validation.check_built(params)
        function = self._registry.function(params["FunctionName"])
        if params.get("LoggingConfig"):
            params = {**params, "LoggingConfig": validation.merged_logging(function.logging, params["LoggingConfig"])}
        fields = self._fields(params)
        check_configuration_members(function.package_type, fields)
        with self._registry.changing(function):
            validation.check_revision(params.get("RevisionId"), function.revision_id)
            if "runtime" in fields:
                await asyncio.to_thread(self._code.interpreter, fields["runtime"])
            if "layers" in fields:
                await self._check_size(replace(function, **fields))
            function = self._unchanged(function)
            new = self._registry.update(function, revised(function, fields))
        return configuration(new)

    def _fields(self, params: dict[str, Any]) -> dict[str, Any]:
        """The `Function` fields that the given members set."""
        fields = validation.fields(params)
        if params.get("Layers") is not None:
            fields["layers"] = self._layer_uses(params["Layers"])
        return fields

    async def _check_size(self, function: Function) -> None:
        if function.layers:
            await self._code.check_combined(function.code_ids)

    def _unchanged(self, function: Function) -> Function:
        """The function as it is after some waiting; 404 if it was deleted meanwhile (and perhaps made anew)."""
        current = self._registry.function(function.name)
        if current.pool_id != function.pool_id:
            raise function_not_found(function.arn)
        return current

    # invoke

    def invoke_async(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """The operation that InvocationType Event replaced."""
        event = {"FunctionName": params["FunctionName"], "Payload": params["InvokeArgs"]}
        return {"Status": self._started(context, {**event, "InvocationType": "Event"})}

    async def invoke(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        started = self._started(context, params)
        if isinstance(started, int):
            return {"StatusCode": started}
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

    async def invoke_with_response_stream(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """The response as an event stream, while the function writes it; whole where it does not stream."""
        stream = ResponseStream()
        started = self._started(context, params, stream)
        if isinstance(started, int):
            return {"StatusCode": started}
        return await streaming.answer(started, stream, params.get("LogType") == "Tail")

    def _started(
        self, context: OperationContext, params: dict[str, Any], stream: ResponseStream | None = None
    ) -> asyncio.Future[InvokeResult] | int:
        return self._invocations.start(
            params["FunctionName"],
            params.get("Payload") or b"",
            request_id=context.request_id,
            received_ns=context.http.received_ns,
            qualifier=params.get("Qualifier"),
            invocation_type=params.get("InvocationType") or "RequestResponse",
            client_context=params.get("ClientContext") or "",
            trace_id=context.http.header("x-amzn-trace-id") or "",
            stream=stream,
        )
