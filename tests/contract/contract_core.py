"""A small local cloud core for any sandbox and transport: what the contract is checked through."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from preheat.execution.channel import Transport
from preheat.execution.environment import Services
from preheat.execution.invoker import PoolInvoker
from preheat.execution.journal import Journal
from preheat.guest import preheat_emulator
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult, LogEvent
from preheat.kernel.image import ImageProgram
from preheat.kernel.settings import Settings
from preheat.oci.lambda_base import make_base
from preheat.oci.layers import Layer, LayerStore
from preheat.oci.layout import Layout
from preheat.sandbox.protocol import SandboxFactory


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
        self.base: ImageProgram | None = settings.pop("base", None)
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
        if self.base is not None:
            layer = self.directory / f"layer{number}"
            (layer / "var").mkdir(parents=True)
            code.rename(layer / "var" / "task")
            self.function = replace(self.function, image=with_layer(self.base, layer), code_dir="/var/task")
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


def with_layer(base: ImageProgram, layer: Path) -> ImageProgram:
    return replace(base, layers=(*base.layers, str(layer)), command=(*base.command, "app.handler"))


@functools.lru_cache
def base_of_session(directory: Path) -> ImageProgram:
    """Made once (pip takes seconds), shared by every test; `directory` is the session's (getbasetemp)."""
    own = directory / "lambda-base"
    own.mkdir()
    return lambda_base(own)


def lambda_base(directory: Path) -> ImageProgram:
    """Lambda's Python base image of this interpreter, unpacked: what an image without code of its own runs."""
    layout = Layout(directory / "layout")
    made = make_base(Path(sys.executable), Path(preheat_emulator.__file__), layout.blobs, directory)
    layers = LayerStore(directory, layout.blobs)
    directories = layers.directories([Layer(packed.descriptor.digest, packed.diff_id) for packed in made.layers])
    config = made.config
    return ImageProgram(
        layers=tuple(map(str, directories)),
        command=tuple(config["Entrypoint"]),
        working_dir=config["WorkingDir"],
        environ=dict(variable.split("=", 1) for variable in config["Env"]),
    )


async def eventually(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Poll, bounded: for what the kernel does in its own time (a killed process vanishing)."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)
