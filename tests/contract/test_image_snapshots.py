"""SnapStart of functions from images: what is forked inside a container is as confined as the container itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from contract_core import Core, base_of_session, eventually

from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.kernel.errors import AwsError
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.network import isolated
from preheat.sandbox.runc_spec import GID, UID

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor says so)"),
]

SEEN = """
import ctypes, os, socket, stat, time, uuid

def attempt(what, *arguments):
    try:
        return repr(what(*arguments))
    except OSError as error:
        return type(error).__name__

def call(libc, *arguments):
    if getattr(libc, arguments[0])(*arguments[1:]) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def seen():
    libc = ctypes.CDLL(None, use_errno=True)
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    shown = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "TracerPid")
    return {
        "ids": [os.getuid(), os.getgid(), os.getgroups()],
        "status": {key: status[key] for key in shown},
        "interfaces": [name for _, name in socket.if_nameindex()],
        "limits": [line for line in open("/proc/self/limits") if "open files" in line or "core" in line],
        "owners": [os.stat(path).st_uid for path in ("/", "/var/task", "/proc/1", "/proc/self", "/tmp")],
        "modes": [stat.filemode(os.stat(path).st_mode) for path in ("/", "/tmp", "/dev/null")],
        "directory": os.getcwd(),
        "guest": os.path.exists("/.preheat/sitecustomize.py"),
        "path": os.environ.get("PYTHONPATH"),
        "refused": {
            "write /": attempt(open, "/made", "w"),
            "mount": attempt(call, libc, "mount", b"none", b"/tmp", b"tmpfs", 0, None),
            "umount": attempt(call, libc, "umount2", b"/proc", 2),
            "unshare": attempt(call, libc, "unshare", 0x10000000),
            "setns": attempt(call, libc, "setns", os.open("/proc/self/ns/user", os.O_RDONLY), 0),
            "ptrace": attempt(call, libc, "ptrace", 0, 0, 0, 0),
            "kill init": attempt(os.kill, 1, 9),
            "init's root": attempt(os.listdir, "/proc/1/root"),
            "init's environment": attempt(open, "/proc/1/environ"),
            "hostname": attempt(socket.sethostname, "mine"),
            "mknod": attempt(os.mknod, "/tmp/disk", 0o60600, os.makedev(8, 0)),
            "sysctl": attempt(open, "/proc/sys/kernel/core_pattern", "w"),
            "kernel memory": attempt(lambda: open("/proc/kcore", "rb").read(1)) == "b''" and "OSError",
            "set-user-id": attempt(os.setuid, 0),
        },
    }

at_init = seen()
born, before = str(uuid.uuid4()), os.listdir("/tmp")

def handler(event, context):
    time.sleep((event or {}).get("sleep", 0))
    if event and "secret" in event:
        open("/tmp/secret", "w").write(event["secret"])
    namespaces = {kind: os.readlink("/proc/self/ns/" + kind) for kind in ("mnt", "pid", "ipc", "uts", "net")}
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return {"init": at_init, "now": seen(), "namespaces": namespaces, "pids": pids, "own": os.getpid(),
            "born": born, "before": before, "unique": str(uuid.uuid4()), "tmp": os.listdir("/tmp"),
            "hostname": socket.gethostname()}
"""
LEAVES_RUNNING = """
import os, subprocess, sys, time
sleep = "import time; time.sleep(600)"
started = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}']); {sleep}"
subprocess.Popen([sys.executable, "-c", started], start_new_session=True)
time.sleep(0.3)  # so that it has begun
def handler(event, context):
    return len([name for name in os.listdir("/proc") if name.isdigit()])
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


Make = Callable[[bool], Core]


@pytest.fixture
async def make(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Make]:
    """Cores of functions from images, with SnapStart or without."""
    made: list[Core] = []

    def make_one(snap_start: bool) -> Core:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        base, transport = base_of_session(tmp_path_factory.getbasetemp()), RuntimeApiTransport(place=isolated)
        made.append(Core(directory, ContainerFactory(directory / "env"), transport, base=base, snap_start=snap_start))
        return made[-1]

    yield make_one
    for core in made:
        core.close()
        assert isinstance(core.factory, ContainerFactory)
        core.factory.close()
        assert not [path for path in core.factory.cgroups.paths if path.exists()]
        await eventually(lambda core=core: not marked(core.directory))  # type: ignore[misc]


def marked(directory: Path) -> list[int]:
    """Processes started below a directory, and what they trace or have forked."""
    return [pid for pid in pids() if os.fsencode(directory) in _read(pid, "environ")]


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def sources(core: Core) -> dict[int, int]:
    """The fork sources, which stand still, and the fork host of each."""
    hosts = set(marked(core.directory))
    found = {}
    for pid in pids():
        lines = _read(pid, "status").decode().splitlines()
        tracer = next((int(line.split()[1]) for line in lines if line.startswith("TracerPid:")), 0)
        if tracer in hosts:
            found[pid] = tracer
    return found


async def test_init_and_handlers_of_both_kinds_hold_the_same_and_may_do_the_same(make: Make) -> None:
    """The template's init, a restored handler, a plain container's init and its handler."""
    restored, plain = make(True), make(False)
    restored.deploy(SEEN)
    plain.deploy(SEEN)
    one, other = await restored.value(), await plain.value()
    assert one["now"] == other["init"] == other["now"]
    assert {**one["init"], "guest": False} == one["now"]  # our client is gone after the fork
    assert one["now"]["ids"] == [UID, GID, []]
    assert set(one["now"]["refused"].values()) <= {"OSError", "PermissionError", False}, one["now"]["refused"]
    assert one["now"]["status"]["CapBnd"] == one["now"]["status"]["CapPrm"] == "0" * 16
    assert one["now"]["interfaces"] == ["lo"]
    assert one["pids"] == [1, one["own"]]


async def test_environments_of_one_snapshot_share_init_and_nothing_else(make: Make) -> None:
    core = make(True)
    core.deploy(SEEN)
    one, two = await asyncio.gather(core.value({"sleep": 1, "secret": "s3cret"}), core.value({"sleep": 1}))
    assert one["born"] == two["born"]
    for kind, namespace in one["namespaces"].items():
        assert namespace != two["namespaces"][kind], kind
    for different in ("unique", "hostname"):
        assert one[different] != two[different], different
    assert (one["tmp"], two["tmp"]) == (["secret"], [])
    assert {record["origin"] for record in core.records("restored")} <= {"spare", "fork"}


async def test_environments_outlive_their_fork_source_and_the_next_one_is_taken_anew(make: Make) -> None:
    core = make(True)
    core.deploy(SEEN)
    first = await core.value()
    await eventually(lambda: len(sources(core)) == 1)  # what has just been forked from it is held, too
    ((source, host),) = sources(core).items()
    os.kill(source, signal.SIGKILL)
    await eventually(lambda: core.invoker.pools[0].snapshot_died())
    held, new = core.start({"sleep": 4}), await core.value()
    again = msgspec.json.decode((await held).payload)
    assert again["born"] == first["born"] != new["born"]
    assert host in marked(core.directory)
    core.invoker.pools[0].expire(time.monotonic_ns(), 0)
    await eventually(lambda: host not in pids())  # gone with its last environment
    await eventually(lambda: len(sources(core)) == 1)


async def test_daemons_of_one_environment_end_with_it_and_with_no_other(make: Make) -> None:
    core = make(True)
    core.deploy(
        "import os, subprocess, sys, time\n"
        "def handler(event, context):\n"
        "    time.sleep(1)\n"
        "    if event == 'exit':\n"
        "        os._exit(3)\n"
        "    code = 'import time; time.sleep(600)'\n"
        "    subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
        "    return len([name for name in os.listdir('/proc') if name.isdigit()])\n"
    )
    assert await asyncio.gather(core.value(), core.value()) == [3, 3]
    died = await core.call("exit")
    assert b"exit status 3" in died.payload
    counts = await asyncio.gather(core.value(), core.value())
    assert sorted(counts) == [3, 4]  # the reset one has begun anew, the other one has kept its daemon


async def test_tmp_is_as_large_as_ephemeral_storage_says_and_kept_over_a_reset(make: Make) -> None:
    core = make(True)
    core.deploy(
        "import errno, os\n"
        "def handler(event, context):\n"
        "    if event == 'exit':\n"
        "        open('/tmp/kept', 'w').close()\n"
        "        os._exit(3)\n"
        "    found = os.listdir('/tmp')\n"
        "    try:\n"
        "        with open('/tmp/large', 'wb') as file:\n"
        "            for _ in range(600):\n"
        "                file.write(bytes(2**20))\n"
        "    except OSError as error:\n"
        "        return [found, errno.errorcode[error.errno]]\n"
        "    return found\n",
        ephemeral_storage_mb=512,
        memory_mb=512,
    )
    await core.call("exit")
    assert await core.value() == [["kept"], "ENOSPC"]


async def test_what_init_leaves_running_is_in_no_environment_and_sees_none(make: Make) -> None:
    core = make(True)
    nap_s = 100_000 + os.getpid()  # nobody else on this machine sleeps for as long
    core.deploy(LEAVES_RUNNING.replace("600", str(nap_s)))
    assert await core.value() == 2
    assert not [pid for pid in pids() if b"sleep(%d)" % nap_s in _read(pid, "cmdline")]


async def test_an_image_that_does_not_start_awss_python_client_is_refused_with_the_reason(make: Make) -> None:
    core = make(True)
    function = core.deploy(SEEN)
    assert function.image is not None
    image = replace(function.image, command=("/bin/sh", "-c", "exit 4", "app.handler"))
    core.function = replace(function, image=image)
    with pytest.raises(AwsError, match="exited with status 4: the image's entry point did not start AWS's runtime"):
        await core.invoker.prepare(core.function)
    image = replace(function.image, command=("/nowhere/bootstrap", "app.handler"))
    core.function = replace(function, image=image, revision_id="another")
    with pytest.raises(AwsError, match="/nowhere/bootstrap: no such file or directory"):
        await core.invoker.prepare(core.function)


async def test_what_a_fork_or_the_template_writes_is_not_lost(make: Make) -> None:
    core = make(True)
    core.deploy(
        "import os\n"
        "os.register_at_fork(after_in_child=lambda: print('a child of the snapshot', flush=True))\n"
        "def handler(event, context):\n    return 1\n"
    )
    assert await core.value() == 1
    await eventually(lambda: any("a child of the snapshot" in line for line in core.logs.messages()))
