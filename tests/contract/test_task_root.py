"""The process sandbox's /var: where the data directory itself lies below it, and where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from contract_core import Core

from preheat.execution.socket_channel import SocketTransport
from preheat.guest import preheat_isolation
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.runtimes import Runtimes

pytestmark = pytest.mark.anyio

HANDLER = """
import os, sys
import awslambdaric
def handler(event, context):
    with open("/tmp/kept", "a") as file:
        file.write("x")
    return {"file": __file__, "path": sys.path[0], "runtime": awslambdaric.__file__,
            "kept": os.path.getsize("/tmp/kept"), "entries": os.listdir("/var"),
            "machine": os.listdir(os.environ["MACHINE"]), "links": os.path.islink("/var/run"),
            "made": os.access("/var/made", os.W_OK)}
"""


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def below_var() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="preheat-") as directory:
        yield Path(directory)


@pytest.fixture(params=["process", "snapshot"])
async def core(request: pytest.FixtureRequest, below_var: Path) -> AsyncIterator[Core]:
    factory = ProcessFactory(below_var / "env", Runtimes(below_var / "runtimes"))
    made = Core(below_var, factory, SocketTransport(), snap_start=request.param == "snapshot")
    yield made
    made.close()
    factory.close()


async def test_a_data_directory_below_var_serves_and_the_rest_of_var_is_seen(core: Core, below_var: Path) -> None:
    core.deploy(HANDLER, environment={"MACHINE": str(below_var)})
    first, second = await core.value(), await core.value()
    assert (first["kept"], second["kept"]) == (1, 2)
    assert (first["file"], first["path"]) == ("/var/task/app.py", "/var/task")
    assert first["runtime"] == "/var/runtime/awslambdaric/__init__.py"
    assert {*first["machine"]} == names(below_var)
    assert {*first["entries"]} >= names(Path("/var")) | {"task", "runtime"}
    assert first["links"] == Path("/var/run").is_symlink()
    assert not first["made"]


@pytest.mark.parametrize("task", ["", "/nowhere"])
def test_what_cannot_be_shown_leaves_var_as_it_was(tmp_path: Path, task: str) -> None:
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import preheat_isolation; "
        "found = preheat_isolation.isolate(sys.argv[2], [], (), sys.argv[3]); "
        "print(found[2], os.getcwd(), *sorted(os.listdir('/var')))"
    )
    guest = Path(preheat_isolation.__file__).parent
    # a working directory of the machine's own: the child's /tmp is another one
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, str(guest), str(tmp_path), task],
        cwd="/usr",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "/usr", *sorted(names(Path("/var")))]


def test_paths_are_led_below_var_task_only_from_inside() -> None:
    assert preheat_isolation.shown("/data/code/1", "/data/code/1") == "/var/task"
    assert preheat_isolation.shown("/data/code/1/inner", "/data/code/1") == "/var/task/inner"
    assert preheat_isolation.shown("/data/code/12", "/data/code/1") == "/data/code/12"
