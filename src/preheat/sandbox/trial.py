"""One container started to see whether containers start here."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.sandbox.container import ContainerFactory
from preheat.sandbox.docker import DockerFactory
from preheat.sandbox.docker_api import DockerApi
from preheat.sandbox.network import Place, isolated
from preheat.sandbox.protocol import Launch, SandboxFactory

_LIMIT_S = 30.0
_COMMAND = ("/bin/sh", "-c", "exit 42")
_ENVIRONMENT = "0" * 32
_MEMORY_MB = 128


def try_container(directory: Path, files: Iterable[Path]) -> None:
    """A container of `files` of this machine, a shell among them. Raises OSError saying what went wrong."""

    async def run() -> None:
        layer = directory / "layer"
        for path in files:
            target = layer / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        layer.chmod(0o755)
        factory = ContainerFactory(directory / "container")
        try:
            await _run(factory, ImageProgram(layers=(str(layer),), command=_COMMAND), isolated())
        finally:
            factory.close()

    asyncio.run(run())


def try_docker(directory: Path, api: DockerApi, files: Iterable[Path], architecture: str) -> None:
    """The same by Docker, from an image. Raises OSError, PreheatError."""

    async def run() -> None:
        layer = directory / "layer.tar"
        with tarfile.open(layer, "w", dereference=True) as archive:
            for path in files:
                archive.add(path)
        diff_id = f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"
        image = ResolvedImage("trial", diff_id, architecture, {}, (diff_id,), layer.stat().st_size)
        factory = DockerFactory(directory / "docker", api)
        try:
            loaded = factory.images.program(image, [layer])
            program = ImageProgram(layers=(), command=_COMMAND, name=loaded.name)
            await _run(factory, program, factory.place())
        finally:
            factory.close()
            factory.images.keep(())

    asyncio.run(run())


async def _run(factory: SandboxFactory, program: ImageProgram, place: Place) -> None:
    sandbox = factory.create(_ENVIRONMENT)
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with place.listener:
        output = os.open(sandbox.output_pipe or os.devnull, os.O_RDWR)
        try:
            environ = {"AWS_LAMBDA_RUNTIME_API": place.address, "PATH": "/usr/bin:/bin"}
            launch = Launch("", "", "", _MEMORY_MB, environ, output, image=program, network_fd=place.network_fd)
            sandbox.launch(launch, over.set_result)
            status = await asyncio.wait_for(over, _LIMIT_S)
        except TimeoutError:
            raise OSError(f"a container did not end within {_LIMIT_S:.0f} s") from None
        finally:
            os.close(output)
            if place.network_fd is not None:
                os.close(place.network_fd)
            sandbox.destroy()
    if sandbox.refusal or status != 42:
        raise OSError(sandbox.refusal or f"a container that should end with status 42 ended with {status}")
