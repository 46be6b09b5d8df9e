"""What a function in a container of Docker's cannot do to others, what Docker cannot keep it from, and its limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from contract_attempts import TRY, missing_entry_point
from contract_core import Base, Core, eventually
from registry_tools import Docker

from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.sandbox.docker import DockerFactory, engine
from preheat.sandbox.docker_network import DockerNetwork
from preheat.sandbox.runc_spec import GID, UID

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Docker.can_start(), reason="a Docker engine takes root and Debian's docker.io"),
]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def core(tmp_path: Path, base_image: Base, docker: Docker) -> AsyncIterator[Core]:
    factory = DockerFactory(tmp_path / "env", engine(docker.socket))
    factory.reap()
    made = Core(tmp_path, factory, RuntimeApiTransport(factory.place), base=base_image)
    yield made
    made.close()
    factory.close()


async def test_it_has_no_power_and_sees_nobody(core: Core) -> None:
    core.deploy(TRY)
    seen = await core.value({})
    assert seen["ids"] == [UID, GID, [GID]]
    assert seen["status"] == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert sorted(seen["interfaces"]) == ["eth0", "lo"]
    assert seen["pids"] == [1, seen["own"]]  # the first is the shell that keeps the container
    refused = {what: how for what, how in seen["refused"].items() if what not in OF_ITS_OWN}
    assert set(refused.values()) <= {"OSError", "PermissionError"}, refused


OF_ITS_OWN = ("kill init", "init's root", "init's environment")
"""The shell is the function's own user's: a function may end its own environment and nothing else."""


async def test_it_reaches_its_own_runtime_api_and_no_other_environments(core: Core) -> None:
    """Nor the server's port on loopback, nor anything outside; but what listens at all addresses of this machine."""
    core.deploy(TRY)
    other = core.start({"sleep": 2})
    await eventually(lambda: len(places(core)) == 1)
    (others,) = places(core)
    with socket.create_server(("127.0.0.1", 0)) as private, socket.create_server(("0.0.0.0", 0)) as public:
        gateway = others.partition(":")[0]
        targets = [["127.0.0.1", private.getsockname()[1]], ["192.0.2.1", 80], [gateway, private.getsockname()[1]]]
        reached = await core.value({"connect": [*targets, [gateway, public.getsockname()[1]]]})
    own, outside, private_too, public_too = reached
    assert (own, private_too, public_too) == ("ConnectionRefusedError", "ConnectionRefusedError", "True")
    assert outside in ("OSError", "TimeoutError")
    core.deploy(ASK)
    assert await core.value(others) == [403, "AccessDenied"]
    await other


ASK = """
import json, urllib.request, urllib.error
def handler(event, context):
    try:
        return urllib.request.urlopen(f"http://{event}/2018-06-01/runtime/invocation/next", timeout=5).status
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())["errorType"]]
"""


def places(core: Core) -> list[str]:
    """Where the Runtime APIs listen."""
    assert isinstance(core.factory, DockerFactory)
    return sorted(core.factory.network.addresses())


async def test_a_full_tmp_is_the_handlers_own_error_and_has_the_size_asked_for(core: Core) -> None:
    fill = (
        "import os\n"
        "def handler(event, context):\n"
        "    if not event: return os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize\n"
        "    with open('/tmp/filled', 'wb') as file:\n"
        "        for _ in range(event): file.write(bytes(2**20))\n"
    )
    core.deploy(fill, memory_mb=1024, ephemeral_storage_mb=600)
    assert await core.value(0) == 600 * 2**20
    error = msgspec.json.decode((await core.call(700)).payload)
    assert (error["errorType"], "No space left on device" in error["errorMessage"]) == ("OSError", True)
    assert len(core.records("environment_started")) == 1
    core.deploy(fill, memory_mb=1024)
    assert await core.value(100) is None


async def test_an_entry_point_that_is_not_there_is_named(core: Core) -> None:
    assert "/nowhere/bootstrap: no such file" in await missing_entry_point(core)


async def test_the_setting_opens_the_machines_network(tmp_path: Path, base_image: Base, docker: Docker) -> None:
    factory = DockerFactory(tmp_path / "env", engine(docker.socket), on_host=True)
    core = Core(tmp_path, factory, RuntimeApiTransport(), base=base_image)
    core.deploy(TRY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert await core.value({"connect": [list(server.getsockname())]}) == ["True"]
    core.close()
    factory.close()


async def test_output_comes_by_the_engines_stream_where_it_is_on_another_machine(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Docker Desktop, where no pipe of ours reaches into a container."""
    monkeypatch.setattr(DockerNetwork, "on_this_machine", property(lambda self: False))
    core.deploy("def handler(event, context):\n    for n in range(5000): print('line', n)\n    return 1\n")
    assert await core.value() == 1
    lines = [f"line {n}\n" for n in range(5000)]
    await eventually(lambda: [line for line in core.logs.messages() if line.startswith("line")] == lines)


async def test_what_a_killed_server_left_is_removed_by_the_next(core: Core, docker: Docker) -> None:
    """A frozen container outlives its server: its shell cannot hear that the line is closed."""
    core.deploy(TRY)
    await core.value({})
    (environment,) = core.invoker.pools[0].environments.values()
    await eventually(lambda: environment.frozen)
    await eventually(lambda: docker("ps", "--quiet", "--filter", "status=paused").stdout != "")
    assert isinstance(core.factory, DockerFactory)
    assert DockerFactory(core.factory.root, engine(docker.socket)).reap() == 1
    assert docker("ps", "--all", "--quiet").stdout == ""


async def test_an_engine_may_end_and_come_back(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, base_image: Base
) -> None:
    """The request inside is lost, the server is not."""
    place = tmp_path_factory.mktemp("e")
    own = Docker(place, "--bridge=none")
    factory = DockerFactory(tmp_path / "env", engine(own.socket))
    core = Core(tmp_path, factory, RuntimeApiTransport(factory.place), base=base_image)
    core.deploy(TRY)
    inside = core.start({"sleep": 60})
    await eventually(lambda: bool(core.records("init_done")), 30)
    await asyncio.to_thread(own.stop)
    error = msgspec.json.decode((await asyncio.wait_for(inside, 30)).payload)
    assert error["errorType"] == "Runtime.ExitError"
    own = await asyncio.to_thread(Docker, place, "--bridge=none")
    assert (await core.value({}))["ids"][0] == UID
    core.close()
    factory.close()
    await asyncio.to_thread(own.stop)
