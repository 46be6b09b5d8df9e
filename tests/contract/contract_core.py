"""A small local cloud core for any sandbox and transport: what the contract is checked through."""

from __future__ import annotations

import asyncio
import functools
import itertools
import platform
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from preheat.execution.channel import Transport
from preheat.execution.invoker import PoolInvoker
from preheat.execution.journal import Journal
from preheat.execution.runtime import Services
from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.socket_channel import SocketTransport
from preheat.guest import preheat_emulator
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult, LogEvent
from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.kernel.settings import Settings
from preheat.oci.blobs import BlobStore
from preheat.oci.lambda_base import make_base
from preheat.oci.layers import Layer, LayerStore
from preheat.oci.layout import Layout
from preheat.oci.pack import PackedLayer, pack
from preheat.oci.tree import entry_of
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.docker import DockerFactory
from preheat.sandbox.docker_images import DockerImages
from preheat.sandbox.network import isolated
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.protocol import SandboxFactory
from preheat.sandbox.runtimes import Runtimes


class Logs:
    """A LogSink that keeps everything."""

    def __init__(self) -> None:
        self.streams: dict[str, list[LogEvent]] = {}

    def create_stream(self, group: str, stream: str) -> None:
        self.streams.setdefault(stream, [])

    def put(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        self.streams[stream].extend(events)

    def invoked(self) -> list[list[LogEvent]]:
        """The streams of environments that served: a snapshot's own stream is left out."""
        return [events for events in self.streams.values() if any(m.startswith("START") for _, m in events)]

    def messages(self) -> list[str]:
        return [message for events in self.streams.values() for _, message in events]

    def text(self) -> str:
        return "".join(message for events in self.invoked() for _, message in events)


class Core:
    """Functions are handler source texts; `call` invokes the newest."""

    def __init__(self, directory: Path, factory: SandboxFactory, transport: Transport, **settings: Any) -> None:
        self.directory = directory
        self.factory = factory
        self.logs = Logs()
        self.snap_start = settings.pop("snap_start", False)
        self.base: Base | None = settings.pop("base", None)
        self.journal = Journal(directory / "journal")
        services = Services(factory, transport, self.journal, self.logs, "http://127.0.0.1:4566")
        self.invoker = PoolInvoker(services, Settings(data_dir=directory, **settings))
        self._numbers = itertools.count()
        self.function: FunctionVersion

    def deploy(self, source: str, **options: Any) -> FunctionVersion:
        number = next(self._numbers)
        code = self.directory / f"code{number}"
        code.mkdir()
        (code / "app.py").write_text(source)
        self.function = FunctionVersion(
            name="fn",
            version="1" if self.snap_start else "$LATEST",
            snap_start=self.snap_start,
            arn="arn:aws:lambda:us-east-1:000000000000:function:fn",
            revision_id=f"revision-{number}",
            runtime=options.pop("runtime", "python3.11"),
            handler="app.handler",
            code_dir=str(code),
            log_group="/aws/lambda/fn",
            timeout_s=options.pop("timeout_s", 20),
            memory_mb=options.pop("memory_mb", 256),
        )
        if self.base is not None and isinstance(self.factory, DockerFactory):
            self.function = replace(
                self.function, image=in_engine(self.factory.images, self.base, code), code_dir="/var/task"
            )
        elif self.base is not None:
            layer = self.directory / f"layer{number}"
            (layer / "var").mkdir(parents=True)
            code.rename(layer / "var" / "task")
            program = with_handler(replace(self.base.program, layers=(*self.base.program.layers, str(layer))))
            self.function = replace(self.function, image=program, code_dir="/var/task")
        self.function = replace(self.function, **options)
        return self.function

    def start(self, event: Any = None, **fields: Any) -> asyncio.Future[InvokeResult]:
        payload = event if isinstance(event, bytes) else msgspec.json.encode(event)
        invocation = Invocation(str(uuid.uuid4()), payload, time.monotonic_ns(), **fields)
        return self.invoker.invoke(self.function, invocation)

    def close(self) -> None:
        self.invoker.close()
        self.journal.close()

    async def call(self, event: Any = None, **fields: Any) -> InvokeResult:
        return await asyncio.wait_for(self.start(event, **fields), 60)

    async def value(self, event: Any = None) -> Any:
        result = await self.call(event)
        assert result.function_error is None, result.payload
        return msgspec.json.decode(result.payload)

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = [msgspec.json.decode(line) for line in self.journal.read()]
        return [record for record in found if record["type"] == kind]


@dataclass(frozen=True)
class Base:
    """Lambda's Python base image of this interpreter, packed and unpacked; `program` has no code of its own."""

    blobs: BlobStore
    layers: tuple[PackedLayer, ...]
    config: dict[str, Any]
    program: ImageProgram


@functools.lru_cache
def base_of_session(directory: Path) -> Base:
    """Made once (pip takes seconds), shared by every test; `directory` is the session's (getbasetemp)."""
    own = directory / "lambda-base"
    own.mkdir()
    layout = Layout(own / "layout")
    made = make_base(Path(sys.executable), Path(preheat_emulator.__file__), layout.blobs, own)
    layers = LayerStore(own, layout.blobs)
    directories = layers.directories([Layer(packed.descriptor.digest, packed.diff_id) for packed in made.layers])
    program = ImageProgram(
        layers=tuple(map(str, directories)),
        command=tuple(made.config["Entrypoint"]),
        working_dir=made.config["WorkingDir"],
        environ=dict(variable.split("=", 1) for variable in made.config["Env"]),
    )
    return Base(layout.blobs, made.layers, made.config, program)


def with_handler(program: ImageProgram) -> ImageProgram:
    return replace(program, command=(*program.command, "app.handler"))


def in_engine(images: DockerImages, base: Base, code: Path | None = None) -> ImageProgram:
    """The base with the files of `code` below /var/task, as an image that Docker's engine has."""
    layers = list(base.layers)
    if code is not None:
        layers.append(pack([entry_of(f"var/task/{path.name}", path) for path in code.iterdir()], base.blobs))
    image = ResolvedImage(
        uri=f"registry/fn@{layers[-1].descriptor.digest}",
        digest=layers[-1].descriptor.digest,
        architecture={"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        config=base.config,
        layers=tuple(layer.diff_id for layer in layers),
        size_bytes=sum(layer.descriptor.size for layer in layers),
    )
    loaded = images.program(image, [base.blobs.path(layer.descriptor.digest) for layer in layers])
    return with_handler(replace(base.program, layers=(), name=loaded.name))


async def eventually(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Poll, bounded: for what the kernel does in its own time (a killed process vanishing)."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


SNAPSHOT_KINDS = ["zip", *(["image"] if unusable() is None else [])]


@contextmanager
def snapshot_core(kind: str, directory: Path, shared: Path) -> Iterator[Core]:
    """With SnapStart, on the ground of either sandbox that has snapshots. `shared`: the session's directory."""
    factory: ProcessFactory | ContainerFactory
    if kind == "image":
        factory = ContainerFactory(directory / "env")
        made = Core(
            directory, factory, RuntimeApiTransport(place=isolated), base=base_of_session(shared), snap_start=True
        )
    else:
        factory = ProcessFactory(directory / "env", Runtimes(directory / "runtimes"))
        made = Core(directory, factory, SocketTransport(), snap_start=True)
    yield made
    made.close()
    factory.close()
