"""One container of Docker's: made, run in, paused, emptied, removed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from preheat.sandbox.cgroup import CPU_PERIOD_US, PIDS_MAX
from preheat.sandbox.docker_api import DockerError
from preheat.sandbox.protocol import Launch, OnExit
from preheat.sandbox.runc_spec import GID, NOFILE, TELEMETRY_FD, UID
from preheat.sandbox.seccomp import profile

if TYPE_CHECKING:
    from preheat.sandbox.docker import DockerFactory

_HOLD = 'trap "" CHLD; while read -r word; do kill -9 -1; echo "$word"; done'
"""The container's first process. Each line it reads ends every other process; the end of its input, which is the end of
our connection, ends it and with it the container. It ignores SIGCHLD, so the kernel reaps orphans (wait(2), NOTES)."""
_PIPE = "/.preheat-output"
_TO_PIPE = f'exec "$@" {TELEMETRY_FD}>{_PIPE} >&{TELEMETRY_FD} 2>&{TELEMETRY_FD}'
_TO_STREAM = f'exec "$@" 2>&1 {TELEMETRY_FD}>&1'
"""Standard output and error and the telemetry log are one, so that their order is the order of writing."""
_KILL_S = 5.0
_FRAME_BYTES = 8
_SIGNALS = frozenset(int(number) for number in signal.Signals)
_NOT_STARTED = (126, 127)
"""What a shell ends with when there is nothing to exec (POSIX, Shell Command Language, 2.8.2)."""


class Run:
    """One launch: an exec in a container. `on_exit` is called once, in the loop."""

    def __init__(self, launch: Launch, on_exit: OnExit, output_fd: int) -> None:
        self.launch = launch
        self.exec_id = ""
        self.container = ""
        self.pid = 0
        self.killed = False
        self.refusal = ""
        self.over = asyncio.Event()
        self._on_exit: OnExit | None = on_exit
        self._output_fd = output_fd
        """Held open so that the pipe does not end before the runtime has opened it."""

    def ended(self, status: int) -> None:
        """`status` as Docker and shells give it: 128 and more is a signal's."""
        self.close()
        self.over.set()
        on_exit, self._on_exit = self._on_exit, None
        if status in _NOT_STARTED and not self.refusal and self.launch.image is not None:
            self.refusal = f"{self.launch.image.command[0]}: no such file in the image, or it cannot be executed"
        if on_exit is not None:
            on_exit(-(status - 128) if status - 128 in _SIGNALS else status)

    def write(self, data: bytes) -> None:
        while data and self._output_fd >= 0:
            data = data[os.write(self._output_fd, data) :]

    def close(self) -> None:
        if self._output_fd >= 0:
            os.close(self._output_fd)
            self._output_fd = -1


class DockerContainer:
    """Coroutines, one at a time; all raise OSError and DockerError."""

    def __init__(self, factory: DockerFactory, environment: str, image: str) -> None:
        self._factory = factory
        self._environment = environment
        self._image = image
        self.identity = ""
        self._gone = False
        self._guest = ""
        self._line: socket.socket | None = None
        self._words = 0
        self._paused = False
        self._share: float | None = None

    @property
    def gone(self) -> bool:
        """Whether another one must be made for the next launch."""
        return self._gone or self.identity in self._factory.dead

    async def start(self, launch: Launch, pipe: str) -> None:
        wanted = container_config(self._image, self._environment, launch, pipe, self._factory.labels)
        wanted["HostConfig"]["NetworkMode"] = "host" if self._factory.on_host else self._factory.network.name
        made = await self._factory.ask("POST", "/containers/create", wanted)
        self.identity = identity = made["Id"]
        path = f"/containers/{identity}"
        # before it starts: a shell that finds its input closed would end
        attached = {"stream": "1", "stdin": "1", "stdout": "1"}
        self._line = await self._factory.run(lambda: self._factory.api.hijack(f"{path}/attach", **attached))
        self._line.setblocking(False)
        await self._factory.ask("POST", f"{path}/start")
        if not self._factory.on_host:
            facts = await self._factory.ask("GET", f"{path}/json")
            (network,) = facts["NetworkSettings"]["Networks"].values()
            self._guest = network["IPAddress"]

    async def execute(self, run: Run) -> None:
        launch = run.launch
        assert launch.image is not None
        if not self._factory.on_host:
            self._factory.network.admit(launch.environ["AWS_LAMBDA_RUNTIME_API"], self._guest)
        by_pipe = self._factory.network.on_this_machine
        environ = {**launch.environ, "_LAMBDA_TELEMETRY_LOG_FD": str(TELEMETRY_FD)}
        script = _TO_PIPE if by_pipe else _TO_STREAM
        wanted = {
            "Cmd": ["/bin/sh", "-c", script, "sh", *launch.image.command],
            "Env": [f"{name}={value}" for name, value in environ.items()],
            "WorkingDir": launch.image.working_dir or "/",
            "AttachStdout": not by_pipe,
        }
        made = await self._factory.ask("POST", f"/containers/{self.identity}/exec", wanted)
        run.exec_id, run.container = made["Id"], self.identity
        self._factory.watch(run)
        path = f"/exec/{run.exec_id}"
        if by_pipe:
            await self._factory.ask("POST", f"{path}/start", {"Detach": True, "Tty": False})
            run.pid = (await self._factory.ask("GET", f"{path}/json"))["Pid"]
        else:
            stream = await self._factory.run(lambda: self._factory.api.hijack(f"{path}/start", {"Detach": False}))
            threading.Thread(target=relay, args=(stream, run), name="docker-output", daemon=True).start()

    async def settle(self, frozen: bool, share: float | None) -> None:
        """Pause or let go, and give it this share of a core, where it is not so already."""
        path = f"/containers/{self.identity}"
        if share != self._share:
            quota_us = -1 if share is None else max(1000, int(share * CPU_PERIOD_US))
            await self._factory.ask("POST", f"{path}/update", {"CpuPeriod": CPU_PERIOD_US, "CpuQuota": quota_us})
            self._share = share
        if frozen != self._paused:
            await self._factory.ask("POST", f"{path}/{'pause' if frozen else 'unpause'}")
            self._paused = frozen

    async def kill_all(self) -> bool:
        """End every process but the first; False where that has not worked and the container must go."""
        if self._line is None:
            return False
        try:
            await self.settle(False, self._share)
            self._words += 1
            word = f"{self._words}\n".encode()
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(self._line, word)
            await asyncio.wait_for(self._echoed(word), _KILL_S)
        except (OSError, DockerError, TimeoutError):
            self._gone = True
            return False
        return True

    async def _echoed(self, word: bytes) -> None:
        """The shell's answer, in a frame; earlier answers have been read."""
        assert self._line is not None
        data, wanted = b"", _FRAME_BYTES + len(word)
        while len(data) < wanted:
            piece = await asyncio.get_running_loop().sock_recv(self._line, wanted - len(data))
            if not piece:
                raise OSError("the container has ended")
            data += piece

    async def remove(self) -> None:
        self._gone = True
        if self._line is not None:
            self._line.close()
            self._line = None
        if self.identity:
            with contextlib.suppress(DockerError):  # it removes itself when its first process ends
                await self._factory.ask("DELETE", f"/containers/{self.identity}", force="1", v="1")
        self._factory.dead.discard(self.identity)
        await self._factory.run(self._factory.images.sweep)


def container_config(image: str, environment: str, launch: Launch, pipe: str, labels: dict[str, str]) -> dict[str, Any]:
    """The body of "Create a container", without its network. /tmp is a tmpfs of the function's EphemeralStorage."""
    memory_bytes = launch.memory_mb * 2**20
    tmp = f"rw,exec,nosuid,nodev,mode=1777,size={launch.tmp_mb}m"
    return {
        "Image": image,
        "Hostname": environment[:12],
        "User": f"{UID}:{GID}",
        "Entrypoint": ["/bin/sh", "-c", _HOLD],
        "Cmd": [],
        "WorkingDir": "/",
        "Labels": {**labels, "preheat.environment": environment},
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "HostConfig": {
            "AutoRemove": True,
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": tmp},
            "Mounts": [{"Type": "bind", "Source": pipe, "Target": _PIPE}] if pipe else [],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(profile())}"],
            "IpcMode": "none",
            "PidsLimit": PIDS_MAX,
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "Ulimits": [
                {"Name": "nofile", "Soft": NOFILE, "Hard": NOFILE},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "LogConfig": {"Type": "none"},
        },
    }


def relay(stream: socket.socket, run: Run) -> None:
    """Copy an exec's output, frame by frame (API, "Stream format"), to the run's pipe; until either ends."""
    with stream, stream.makefile("rb") as frames, contextlib.suppress(OSError):
        while head := frames.read(_FRAME_BYTES):
            run.write(frames.read(int.from_bytes(head[4:], "big")))
