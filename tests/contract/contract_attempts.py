"""What a function in a container tries and should not manage (FIDELITY.md, "Faults", 9)."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from contract_core import Core

TRY = """
import ctypes, os, socket, time, urllib.request

def attempt(what, *arguments):
    try:
        return repr(what(*arguments))
    except OSError as error:
        return type(error).__name__

def call(libc, *arguments):
    if getattr(libc, arguments[0])(*arguments[1:]) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def connect(host, port):
    with socket.create_connection((host, port), timeout=2):
        return True

def handler(event, context):
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "connect" in event:
        return [attempt(connect, *address) for address in event["connect"]]
    if "read" in event:
        return [attempt(lambda: open(path, "rb").read(64)) for path in event["read"]]
    libc = ctypes.CDLL(None, use_errno=True)
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    return {
        "ids": [os.getuid(), os.getgid(), os.getgroups()],
        "status": {key: status[key] for key in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
        "interfaces": [name for _, name in socket.if_nameindex()],
        "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "own": os.getpid(),
        "environ": dict(os.environ),
        "refused": {
            "write /": attempt(open, "/made", "w"),
            "write /var/task": attempt(open, "/var/task/made", "w"),
            "mount": attempt(call, libc, "mount", b"none", b"/tmp", b"tmpfs", 0, None),
            "unshare user": attempt(call, libc, "unshare", 0x10000000),
            "ptrace": attempt(call, libc, "ptrace", 0, 0, 0, 0),
            "kill init": attempt(os.kill, 1, 9),
            "init's root": attempt(os.listdir, "/proc/1/root"),
            "init's environment": attempt(open, "/proc/1/environ"),
            "hostname": attempt(socket.sethostname, "mine"),
            "mknod": attempt(os.mknod, "/tmp/disk", 0o60600, os.makedev(8, 0)),
            "sysctl": attempt(open, "/proc/sys/kernel/core_pattern", "w"),
            "set-user-id": attempt(os.setuid, 0),
        },
    }
"""


async def missing_entry_point(core: Core) -> str:
    """What the caller is told of an image whose command is not in it."""
    core.deploy(TRY)
    assert core.function.image is not None
    image = replace(core.function.image, command=("/nowhere/bootstrap", "app.handler"))
    core.function = replace(core.function, image=image)
    result = await core.call({})
    error = msgspec.json.decode(result.payload)
    assert (result.function_error, error["errorType"]) == ("Unhandled", "Runtime.InvalidEntrypoint")
    return str(error["errorMessage"])
