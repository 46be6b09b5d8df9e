"""Files of init in the environments of a snapshot: each has its own /tmp with what init put there, and its own place in
what init opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract_core import SNAPSHOT_KINDS, Core, snapshot_core

pytestmark = pytest.mark.anyio

SOURCE = """
import os, time

os.mkdir("/tmp/model")
with open("/tmp/model/weights", "w") as file:
    file.write("weights")
os.symlink("model", "/tmp/current")
written = open("/tmp/log", "a")
read, own = open("/tmp/current/weights"), open(__file__)
read.read(3)
own.read(5)
served = 0

def handler(event, context):
    global served
    if event == "exit":
        os._exit(1)
    served += 1
    time.sleep(0.3)
    written.write("line ")
    written.flush()
    with open("/tmp/model/weights", "a") as file:
        file.write("+")
    found = [read.read(), own.tell(), open("/tmp/log").read(), os.stat("/tmp/log").st_uid == os.getuid()]
    read.seek(3)
    own.seek(5)
    return [context.log_stream_name, served, found]
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=SNAPSHOT_KINDS)
async def core(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Core]:
    with snapshot_core(request.param, tmp_path, tmp_path_factory.getbasetemp()) as made:
        yield made


async def test_each_environment_has_inits_files_to_itself(core: Core) -> None:
    core.deploy(SOURCE)
    streams: set[str] = set()
    while len(streams) < 2:
        for stream, served, found in await asyncio.gather(core.value(), core.value()):
            assert found == ["ghts" + "+" * served, 5, "line " * served, True]
            streams.add(stream)
    places = core.directory / "env"  # what environments write lies in no other's directory, nor in the template's
    assert {log.relative_to(places).parts[1:] for log in places.rglob("log")} == {("tmp", "log")}


async def test_after_a_reset_tmp_is_as_it_was_left(core: Core) -> None:
    core.deploy(SOURCE)
    stream, _, found = await core.value()
    assert found[2] == "line "
    await core.call("exit")
    assert await core.value() == [stream, 1, ["ghts++", 5, "line line ", True]]
