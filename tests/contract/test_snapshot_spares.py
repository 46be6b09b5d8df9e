"""Spares: children of a snapshot that wait, and have copied meanwhile what another's first request has written to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract_core import SNAPSHOT_KINDS, Core, eventually, snapshot_core

from preheat.sandbox.snapshot import SnapshotFactory
from preheat.sandbox.template import Child, Template, TemplateError

pytestmark = pytest.mark.anyio

WRITES = """
import os, resource
model = bytearray(os.urandom(4096)) * 500

def handler(event, context):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for place in range(0, len(model), 4096):
        model[place] ^= 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
PAGES = 500


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=SNAPSHOT_KINDS)
async def core(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Core]:
    with snapshot_core(request.param, tmp_path, tmp_path_factory.getbasetemp()) as made:
        yield made


async def test_a_spare_has_copied_ahead_what_a_first_request_writes_to(core: Core) -> None:
    core.deploy(WRITES)
    assert await core.value() >= PAGES  # nobody knew yet
    (pool,) = core.invoker.pools
    faults = PAGES
    deadline = time.monotonic() + 10
    while faults >= PAGES and time.monotonic() < deadline:  # spares from before it was known are used up first
        (environment,) = pool.environments.values()
        await eventually(lambda environment=environment: environment.frozen)  # type: ignore[misc]
        pool.expire(time.monotonic_ns(), 0)
        await eventually(lambda: not pool.load.idle)
        faults = await core.value()
    assert faults < PAGES // 4
    assert core.records("restored")[-1]["origin"] == "spare"


@pytest.mark.parametrize("core", ["zip"], indirect=True)  # the template of an image is gone by then
async def test_what_a_template_writes_after_its_snapshot_is_not_lost(core: Core) -> None:
    function = core.deploy(
        "import threading, time\n"
        "def late():\n"
        "    time.sleep(0.5)\n"
        "    raise KeyError('too late for init')\n"
        "threading.Thread(target=late).start()\n"
        "def handler(event, context):\n    return 1\n"
    )
    await core.invoker.prepare(function)
    assert not any("too late for init" in line for line in core.logs.messages())
    await eventually(lambda: any("KeyError: 'too late for init'" in line for line in core.logs.messages()))


def places(core: Core) -> set[str]:
    """Of environments, spares and templates; what they share has a name with a dot."""
    return {path.name for path in (core.directory / "env").iterdir() if not path.name.startswith(".")}


async def restored_once(core: Core) -> SnapshotFactory:
    core.deploy("def handler(event, context):\n    return 1\n")
    await core.value()
    snapshot = core.invoker.pools[0]._services.sandboxes
    assert isinstance(snapshot, SnapshotFactory)
    return snapshot


async def test_a_spare_that_is_killed_is_no_spare_and_leaves_nothing(core: Core) -> None:
    snapshot = await restored_once(core)
    await eventually(lambda: any(spare.child.pid is not None for spare in snapshot._spares))
    killed = next(spare for spare in snapshot._spares if spare.child.pid is not None)
    assert killed.child.pid is not None
    os.kill(killed.child.pid, signal.SIGKILL)
    await eventually(lambda: killed not in snapshot._spares)
    await eventually(lambda: not Path(killed.place.tmp).exists())


async def test_what_cannot_be_forked_leaves_nothing(core: Core) -> None:
    snapshot = await restored_once(core)
    snapshot.close()
    core.invoker.pools[0].expire(time.monotonic_ns(), 0)
    await eventually(lambda: not places(core))
    snapshot._template = FailingTemplate()
    with pytest.raises(TemplateError):
        snapshot.fork()
    await eventually(lambda: not places(core))


class FailingTemplate(Template):
    """One that has just died, and nobody has heard of it."""

    def __init__(self) -> None:
        self.died = False

    def fork(self, *_: object) -> Child:
        raise TemplateError("the snapshot's template has died", b"")

    def close(self) -> None:
        pass


async def test_the_spares_of_a_template_that_has_died_are_given_up_as_others_are(core: Core) -> None:
    snapshot = await restored_once(core)
    snapshot._taken.extend([time.monotonic()] * 200)  # a burst
    snapshot._fill()
    await eventually(lambda: len(snapshot._spares) > 1)
    assert snapshot._template is not None
    snapshot._template.died = True
    snapshot._taken.clear()
    snapshot._fill()
    assert len(snapshot._spares) == 1
