"""What a function in a container cannot do to others (FIDELITY.md, "Faults", 9), tried from inside."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from contract_attempts import TRY, missing_entry_point
from contract_core import Core, base_of_session, eventually

from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.network import isolated
from preheat.sandbox.runc_spec import GID, UID

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor says so)"),
]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def core(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Core]:
    factory = ContainerFactory(tmp_path / "env")
    made = Core(
        tmp_path, factory, RuntimeApiTransport(place=isolated), base=base_of_session(tmp_path_factory.getbasetemp())
    )
    yield made
    made.close()
    factory.close()


async def occupied(core: Core) -> None:
    """One environment serves from now on: the next request needs another."""
    core.start({"sleep": 600})
    (pool,) = core.invoker.pools
    await eventually(lambda: pool.load.serving == 1, 60)


async def test_a_container_has_no_power_and_sees_nobody(core: Core) -> None:
    core.deploy(TRY)
    seen = await core.value({})
    assert seen["ids"] == [UID, GID, []]
    assert seen["status"] == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert seen["interfaces"] == ["lo"]
    assert seen["pids"] == [1, seen["own"]]
    assert set(seen["refused"].values()) <= {"OSError", "PermissionError"}, seen["refused"]
    assert seen["environ"]["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:9001"


async def test_it_reaches_its_own_runtime_api_and_nothing_else(core: Core) -> None:
    """Neither the server's port, nor another environment's Runtime API, nor anything outside."""
    core.deploy(TRY, timeout_s=600)
    await occupied(core)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        own, of_server, outside = await core.value(
            {"connect": [["127.0.0.1", 9001], ["127.0.0.1", port], ["192.0.2.1", 80]]}
        )
    assert (own, of_server, outside) == ("True", "ConnectionRefusedError", "OSError")
    # both speak to the same address: what answers there knows one of them only
    assert len(core.records("environment_started")) == 2


async def test_it_reads_neither_another_environment_nor_the_servers_data(core: Core) -> None:
    core.deploy(TRY, timeout_s=600)
    secret = core.directory / "secret"
    secret.write_text("the server's own")
    secret.chmod(0o644)
    streams = [(await core.value({}))["environ"]["AWS_LAMBDA_LOG_STREAM_NAME"]]
    await occupied(core)
    streams.append((await core.value({}))["environ"]["AWS_LAMBDA_LOG_STREAM_NAME"])
    assert len(set(streams)) == len(core.records("environment_started")) == 2
    tmps = [str(path) for path in core.directory.glob("env/[0-9a-f]*/tmp")]
    paths = [str(secret), *tmps, "/etc/shadow", f"/proc/{os.getpid()}/environ", "/proc/1/environ", "/proc/kcore"]
    read = await core.value({"read": paths})
    assert len(tmps) == 2
    assert set(read[:-1]) <= {"FileNotFoundError", "PermissionError"}
    assert read[-1] in ("FileNotFoundError", "PermissionError", "b''")  # where there is one, it is masked


async def test_it_is_the_setting_that_opens_the_machines_network(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    factory = ContainerFactory(tmp_path / "env")
    core = Core(tmp_path, factory, RuntimeApiTransport(), base=base_of_session(tmp_path_factory.getbasetemp()))
    core.deploy(TRY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert await core.value({"connect": [list(server.getsockname())]}) == ["True"]
    core.close()
    factory.close()


async def test_a_full_tmp_is_the_handlers_own_error_and_is_not_its_memory(core: Core) -> None:
    """The size is EphemeralStorage; a reset keeps what is in it."""
    core.deploy(FILL, memory_mb=128, ephemeral_storage_mb=600, timeout_s=600)
    first = await core.value({"fill": 10})
    await occupied(core)
    second = await core.value({"fill": 10})
    assert 560 * 2**20 < first["size"] <= 600 * 2**20
    assert (first["before"], second["before"]) == ([], [])
    error = msgspec.json.decode((await core.call({"fill": 700})).payload)
    assert (error["errorType"], "No space left on device" in error["errorMessage"]) == ("OSError", True)
    await core.call({"exit": True})
    assert (await core.value({}))["before"] == ["filled"]
    assert len(core.records("environment_started")) == 2


FILL = """
import os, time
def handler(event, context):
    before = sorted(os.listdir("/tmp"))
    if event.get("exit"):
        os._exit(1)
    time.sleep(event.get("sleep", 0))
    if "fill" in event:
        with open("/tmp/filled", "wb") as file:
            for _ in range(event["fill"]):
                file.write(bytes(2**20))
    status = os.statvfs("/tmp")
    return {"before": before, "size": status.f_blocks * status.f_frsize}
"""


async def test_an_entry_point_that_is_not_there_is_named(core: Core) -> None:
    assert "/nowhere/bootstrap: no such file or directory" in await missing_entry_point(core)
