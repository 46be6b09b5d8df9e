"""The `docker` sandbox: image functions as containers of Docker's engine, for macOS and whoever prefers it.

A container is one environment. Its first process is a shell of the image that only waits, and dies with this server;
each launch is an exec in it, so /tmp outlives a reset, and a reset kills everything but that shell. Nothing below is
quick: calls take 10 to 300 ms, so each sandbox makes its own in order, in threads, behind the caller's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.sandbox.docker_api import DockerApi, DockerError, socket_path
from preheat.sandbox.docker_container import DockerContainer, Run
from preheat.sandbox.docker_images import DockerImages
from preheat.sandbox.docker_network import DockerNetwork
from preheat.sandbox.network import Place
from preheat.sandbox.process import peak_of
from preheat.sandbox.protocol import Launch, OnExit
from preheat.sandbox.soon import remove_tree, until_done

log = logging.getLogger(__name__)

_LABEL = "preheat.data"
"""Names the data directory on everything that is made in the engine: a restarted server finds by it what was left."""
_ENGINE = ".engine"
"""Below the factory's directory: the socket of the engine, for a server that uses another one or none."""
_THREADS = 16
_CLOSING_S = 10.0


def engine(docker_host: str) -> DockerApi:
    """The engine that answers there (socket_path has the rule). Raises PreheatError saying why none will do."""
    try:
        api = DockerApi(socket_path(docker_host))
        api.connect()
        facts = api.call("GET", "/info")
    except (OSError, DockerError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PreheatError(f"no Docker engine answers: {reason}") from None
    if facts.get("OSType") != "linux":
        raise PreheatError(f"the Docker engine runs {facts.get('OSType')} containers, not Linux ones")
    if any("rootless" in option for option in facts.get("SecurityOptions") or ()):
        raise PreheatError("the Docker engine is rootless: its containers cannot reach this machine's Runtime API")
    return api


def engine_of(root: Path) -> Path | None:
    """The socket of the engine that a factory of this directory has used; None where none has."""
    try:
        return Path((root / _ENGINE).read_text())
    except OSError:
        return None


class DockerFactory:
    """Makes docker sandboxes whose files lie below `root`. `on_host`: they are to share this machine's network."""

    name = "docker"

    def __init__(self, root: Path, api: DockerApi, *, on_host: bool = False) -> None:
        self.root = root.absolute()
        self.api = api
        self._on_host = on_host
        own = f"preheat-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]}"
        self.labels = {_LABEL: str(self.root)}
        self.images = DockerImages(api, own)
        self.network = DockerNetwork(api, own, self.labels)
        self.oom: set[str] = set()
        """Containers of which the kernel has killed a process for memory, until they are asked."""
        self.dead: set[str] = set()
        """Containers whose first process has ended."""
        self._threads = ThreadPoolExecutor(_THREADS, "docker")
        self._runs: dict[str, Run] = {}
        self._line: socket.socket | None = None
        """On which the engine tells of ends."""
        self._closed = False

    @property
    def on_host(self) -> bool:
        """Never where the engine is in a virtual machine: that one's network is not this machine's."""
        return self._on_host and self.network.on_this_machine

    def create(self, environment: str) -> DockerSandbox:
        return DockerSandbox(self, environment)

    def place(self) -> Place:
        """For the transport: where a runtime finds its Runtime API. From any thread; raises OSError."""
        return self.network.place()

    def limits(self) -> list[str]:
        found = ["what a container keeps in /tmp counts as its memory"]
        if self.on_host:
            return found
        if self.network.on_this_machine:
            return [*found, "containers reach what listens at all addresses of this machine, besides their Runtime API"]
        return [*found, "containers reach the internet and this machine's loopback: Docker runs in a virtual machine"]

    def reap(self) -> int:
        """Containers and networks of an earlier server. Containers end with it unless they were frozen."""
        killed = self._remove_containers()
        self.network.remove()
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / _ENGINE).write_text(str(self.api.path))
        return killed

    def close(self) -> None:
        """Remove every container and the network. Waits, bounded, until they are gone."""
        self._closed = True
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._threads = ThreadPoolExecutor(_THREADS, "docker")
        self._remove_containers()
        self.network.remove()
        self._threads.shutdown()
        for run in list(self._runs.values()):
            run.close()

    # for sandboxes

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """One call of the engine's API, in a thread."""
        return await self.run(lambda: self.api.call(method, path, body, **query))

    async def run(self, work: Callable[[], Any]) -> Any:
        if self._closed:
            raise OSError("the server is being closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def watch(self, run: Run) -> None:
        """Tell `run` when its exec ends. Call it before the exec starts."""
        self._runs[run.exec_id] = run

    def listen(self) -> None:
        """Hear of ends; once for all containers, before the first is made. Raises OSError."""
        if self._line is None:
            connection = self.api.stream_connection()
            self._line = connection.sock
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._hear, args=(connection, loop), name="docker-events", daemon=True).start()

    def _hear(self, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        wanted = {"label": [f"{_LABEL}={self.root}"], "event": ["exec_die", "oom", "die"], "type": ["container"]}
        with contextlib.suppress(OSError, DockerError, ValueError, RuntimeError), contextlib.closing(connection):
            for event in self.api.events(connection, **wanted):
                loop.call_soon_threadsafe(self._happened, event)
        with contextlib.suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(self._deaf)

    def _happened(self, event: dict[str, Any]) -> None:
        container, facts = event["Actor"]["ID"], event["Actor"]["Attributes"]
        if event["Action"] == "oom":
            self.oom.add(container)
        elif event["Action"] == "exec_die":
            self._ended(facts["execID"], int(facts.get("exitCode") or 0))
        elif event["Action"] == "die":
            self.dead.add(container)
            for run in [run for run in self._runs.values() if run.container == container]:
                self._ended(run.exec_id, 128 + 9)

    def _ended(self, exec_id: str, status: int) -> None:
        run = self._runs.pop(exec_id, None)
        if run is not None:
            run.ended(status)

    def _deaf(self) -> None:
        """The engine has gone, or the connection to it: nobody could tell how containers end."""
        self._line = None
        if not self._closed:
            log.error("the connection to the Docker engine has ended unexpectedly")
        self.dead.update(run.container for run in self._runs.values())
        for exec_id in list(self._runs):
            self._ended(exec_id, 128 + 9)

    def _remove_containers(self) -> int:
        filters = json.dumps({"label": [f"{_LABEL}={self.root}"]})
        try:
            found = self.api.call("GET", "/containers/json", all="1", filters=filters) or []
        except (OSError, DockerError) as error:
            log.error("containers of Docker may be left behind: %s", error)
            return 0
        removing = [self._threads.submit(self._remove, entry["Id"]) for entry in found]
        for each in removing:
            with contextlib.suppress(TimeoutError):
                each.result(_CLOSING_S)
        return len(found)

    def _remove(self, container: str) -> None:
        with contextlib.suppress(OSError, DockerError):
            self.api.call("DELETE", f"/containers/{container}", force="1", v="1")


class DockerSandbox:
    """One environment's place. What is asked of it is done in order, by a task of its own."""

    origin = "init"

    def __init__(self, factory: DockerFactory, environment: str) -> None:
        self._factory = factory
        self._environment = environment
        self._directory = factory.root / environment
        self._directory.mkdir(parents=True, exist_ok=True)
        self.output_pipe: str | None = None
        if factory.network.on_this_machine:
            self._directory.chmod(0o711)
            pipe = self._directory / "output"
            os.mkfifo(pipe)
            pipe.chmod(0o622)
            self.output_pipe = str(pipe)
        self._container: DockerContainer | None = None
        self._run: Run | None = None
        self._frozen = False
        self._share: float | None = None
        self._work: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._settling = False

    @property
    def refusal(self) -> str:
        return self._run.refusal if self._run is not None else ""

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        if launch.image is None or not launch.image.name:
            raise OSError("the docker sandbox runs functions from images only")
        self._factory.listen()
        self._run = run = Run(launch, on_exit, os.dup(launch.output_fd))
        self._frozen = False
        self._later(lambda: self._start(run))

    def kill(self) -> None:
        run, self._frozen = self._run, False
        if run is not None and not run.killed:
            run.killed = True
            self._later(self._kill)

    def destroy(self) -> None:
        self.kill()
        self._later(self._remove)
        until_done(lambda: remove_tree(self._directory))

    def limit_cpu(self, share: float | None) -> None:
        self._share = share
        self._settle_later()

    def freeze(self) -> None:
        self._frozen = True
        self._settle_later()

    def thaw(self) -> None:
        self._frozen = False
        self._settle_later()

    def peak_memory_mb(self) -> int:
        """The engine tells of processes only where it runs on this machine."""
        return peak_of(self._run.pid) if self._run is not None and self._run.pid else 0

    def out_of_memory(self) -> bool:
        container = self._container
        if container is None or container.identity not in self._factory.oom:
            return False
        self._factory.oom.discard(container.identity)
        return True

    # in order

    def _later(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work.put_nowait(work)
        if self._worker is None or self._worker.done():
            with contextlib.suppress(RuntimeError):  # no loop any more: the factory's `close` removes what there is
                self._worker = asyncio.get_running_loop().create_task(self._do())

    async def _do(self) -> None:
        while not self._work.empty():
            work = self._work.get_nowait()
            try:
                await work()
            except (OSError, DockerError) as error:
                log.debug("%s: %s", self._environment, error)

    def _settle_later(self) -> None:
        if not self._settling and self._container is not None:
            self._settling = True
            self._later(self._settle)

    async def _settle(self) -> None:
        self._settling = False
        if self._container is not None:
            await self._container.settle(self._frozen, self._share)

    async def _start(self, run: Run) -> None:
        try:
            if self._container is not None and self._container.gone:
                await self._remove()
            if self._container is None:
                image = run.launch.image
                assert image is not None
                self._container = DockerContainer(self._factory, self._environment, image.name)
                await self._container.start(run.launch, self.output_pipe or "")
            if run.killed:
                run.ended(128 + 9)
                return
            await self._container.settle(False, self._share)
            await self._container.execute(run)
        except (OSError, DockerError) as error:
            run.refusal = f"Docker cannot start it: {error}"
            run.ended(127)

    async def _kill(self) -> None:
        if self._container is not None and not await self._container.kill_all():
            await self._remove()

    async def _remove(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            await container.remove()
