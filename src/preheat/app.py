"""The composition root: what the local cloud is made of, and which part a request is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from preheat.aws.dispatch import Dispatcher
from preheat.execution.channel import Transport
from preheat.execution.invoker import PoolInvoker
from preheat.execution.journal import Journal
from preheat.execution.runtime import Services
from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.socket_channel import SocketTransport
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.image import ImagePreparer
from preheat.kernel.interpreters import interpreter
from preheat.kernel.settings import Settings
from preheat.net.http import BodySink, Respond
from preheat.own import OwnEndpoints
from preheat.sandbox.choice import Choice, choose
from preheat.sandbox.container import ContainerFactory
from preheat.sandbox.docker import DockerFactory
from preheat.sandbox.docker_images import DockerPreparer
from preheat.sandbox.leftovers import reap_unused
from preheat.sandbox.network import isolated
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.runtimes import Runtimes
from preheat.services.apigateway.gateway import Gateway
from preheat.services.apigateway.provider import ApiGatewayProvider
from preheat.services.apigateway.store import Store as ApiStore
from preheat.services.apigateway.v2.function_urls import FunctionUrls
from preheat.services.apigateway.v2.gateway import HttpGateway
from preheat.services.apigateway.v2.provider import HttpApiProvider
from preheat.services.apigateway.v2.store import HttpApiStore
from preheat.services.ecr.distribution import Distribution
from preheat.services.ecr.provider import EcrProvider
from preheat.services.ecr.registry import GRACE_S, Registry
from preheat.services.ecr.source import RegistryImages
from preheat.services.identity.provider import IamProvider, StsProvider
from preheat.services.identity.store import IdentityStore
from preheat.services.lambda_.images import LayerImages, NoImages
from preheat.services.lambda_.process_images import ProcessImages
from preheat.services.lambda_.provider import LambdaProvider
from preheat.services.logs.provider import LogsProvider
from preheat.services.logs.store import LogStore
from preheat.services.metrics.provider import MetricsProvider

_INVOKE_PREFIX = "/2015-03-31/functions/"
_INVOKE_SUFFIX = "/invocations"


class App:
    """`start` before the first request, `close` after the last; `handle` in between."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: list[Callable[[], object]] = []
        self._closing_images: list[Callable[[], object]] = []
        self._notes: list[str] = []
        self._started = False

    async def start(self, endpoint_url: str) -> None:
        settings, directory = self._settings, self._settings.data_dir
        transport: Transport = SocketTransport() if settings.transport == "socket" else RuntimeApiTransport()
        self.sandboxes = ProcessFactory(directory / "environments", Runtimes(directory / "runtimes"))
        self.sandboxes.reap()
        self.journal = Journal(directory / "journal")
        self.logs = LogStore(directory)
        services = Services(self.sandboxes, transport, self.journal, self.logs, endpoint_url)
        self.registry = Registry(directory, settings.account_id)
        self.images = RegistryImages(self.registry, directory, self._image_directories)
        choice = await asyncio.to_thread(choose, settings.image_sandbox, settings.docker_host)
        in_containers, preparer = self._for_images(choice, services)
        self.invoker = PoolInvoker(services, settings, in_containers)
        images = NoImages(choice.problem) if choice.problem else self.images
        self.functions = LambdaProvider(settings, self.invoker, interpreter, images, preparer)
        apis = ApiStore(directory / "apigateway.db")
        identity = IdentityStore(directory, settings.account_id)
        self.distribution = Distribution(self.registry)
        http_apis = HttpApiStore(directory / "apigatewayv2.db")
        self.gateway = Gateway(apis, self.invoker, self.functions, self.logs, settings.account_id, settings.region)
        self.http_gateway = HttpGateway(
            http_apis, self.gateway.lambdas, self.gateway.access_log, settings.account_id, settings.region
        )
        self.function_urls = FunctionUrls(self.functions, self.gateway.lambdas)
        logs = LogsProvider(self.logs, settings.region, settings.account_id)
        metrics = MetricsProvider(directory / "metrics.db", self.journal, self.functions, self.logs.files)
        self.dispatcher = Dispatcher(
            {
                "lambda": self.functions,
                "apigateway": ApiGatewayProvider(apis, self.gateway),
                "apigatewayv2": HttpApiProvider(http_apis),
                "ecr": EcrProvider(self.registry, endpoint_url.partition("://")[2]),
                "logs": logs,
                "cloudwatch": metrics,
                "sts": StsProvider(identity),
                "iam": IamProvider(identity),
            },
            region=settings.region,
            account_id=settings.account_id,
        )
        self.own = OwnEndpoints(
            settings, self.sandboxes.name, self.invoker, self.journal, self._collect, self.functions.download_code
        )
        self._closing += [self.registry.close, self.images.close, self.distribution.close]
        self._closing += [identity.close, apis.close, http_apis.close]
        self._closing += [self.logs.close, self.journal.close, metrics.close, logs.close]
        self._closing += [self.sandboxes.close, *self._closing_images, self.invoker.close]
        self.registry.collect()
        await self.images.collect()
        preparer.keep(self.images.pinned())
        await self.functions.start()
        self._started = True

    def _for_images(self, choice: Choice, services: Services) -> tuple[Services, ImagePreparer]:
        """What image functions are run with, and how their images are made ready for it."""
        directory, isolate = self._settings.data_dir, self._settings.container_network == "isolated"
        reap_unused(directory / "containers", directory / "docker", choice)
        if choice.problem:
            self._notes.append(f"functions from images are refused: {choice.problem}")
            return services, LayerImages(NoImages(choice.problem))
        if choice.kind == "process":
            self._notes.append(f"functions from images run as plain processes, nothing isolated: {choice.why}")
            return services, ProcessImages(self.images, interpreter)
        if choice.docker is not None:
            docker = DockerFactory(directory / "docker", choice.docker, on_host=not isolate)
            docker.reap()
            self._closing_images.append(docker.close)
            self._notes += [f"functions from images run in Docker's engine: {note}" for note in docker.limits()]
            transport = RuntimeApiTransport(None if docker.on_host else docker.place)
            preparer = DockerPreparer(docker.images, self.images.layer_files)
            return replace(services, sandboxes=docker, transport=transport), preparer
        containers = ContainerFactory(directory / "containers", isolated=isolate)
        containers.reap()
        self._notes += containers.limits()
        self._closing_images.append(containers.close)
        transport = RuntimeApiTransport(isolated if isolate else None)
        return replace(services, sandboxes=containers, transport=transport), LayerImages(self.images)

    async def close(self) -> None:
        """Stop every environment and close what is open; no harm if `start` did not get far."""
        if self._started:
            await self.functions.close()
            await self.invoker.shut_down()
        while self._closing:
            self._closing.pop()()

    def notes(self) -> list[str]:
        """What this machine's sandbox cannot enforce, to be said once."""
        return self.sandboxes.limits() + self._notes

    def handle(self, request: HttpRequest, respond: Respond) -> None:
        """Data planes first, without a task; then our own endpoints; the AWS APIs for the rest."""
        path = request.path
        target = self.gateway.match(request)
        if target is not None:
            if self.http_gateway.knows(target.api_id):
                self.http_gateway.serve(request, target.api_id, f"/{target.stage}{target.path}", respond)
            else:
                self.gateway.serve(request, target, respond)
            return
        if path.startswith(_INVOKE_PREFIX) and path.endswith(_INVOKE_SUFFIX) and request.method == "POST":
            identifier = path[len(_INVOKE_PREFIX) : -len(_INVOKE_SUFFIX)]
            self.functions.invoke_http(request, identifier).add_done_callback(lambda done: respond(done.result()))
        elif (url := self.function_urls.match(request)) is not None:
            self.function_urls.serve(request, url, respond)
        elif self.distribution.matches(path) and not _is_signed(request):
            self._run(self.distribution.handle(request), respond)
        elif path.startswith("/_preheat/"):
            self._run(self.own.handle(request), respond)
        else:
            self._run(self.dispatcher.handle(request), respond)

    def stream(self, request: HttpRequest) -> BodySink | None:
        """Where a body goes that is too large to be held: an image's layers go to disk as they come."""
        return self.distribution.stream(request) if self.distribution.matches(request.path) else None

    def _run(self, answering: Coroutine[Any, Any, HttpResponse], respond: Respond) -> None:
        async def answer() -> None:
            respond(await answering)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _image_directories(self) -> set[str]:
        """What living environments run from, those of deleted functions too."""
        programs = [pool.function.image for pool in self.invoker.pools if pool.function.image is not None]
        return {path for program in programs for path in ([program.root] if program.root else program.layers)}

    async def _collect(self, young_too: bool) -> dict[str, int]:
        collected = self.registry.collect(0.0 if young_too else GRACE_S)
        return {"files": collected.files + await self.images.collect(), "freed_bytes": collected.freed_bytes}


def _is_signed(request: HttpRequest) -> bool:
    """Registries know no AWS signatures: a signed `/v2/...` is for API Gateway's HTTP APIs."""
    return (request.header("authorization") or "").startswith("AWS4-HMAC-SHA256")
