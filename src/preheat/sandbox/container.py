"""The `container` sandbox: an image's layers under an overlay, run by runc, without a daemon.

Each environment has its own mount, PID, IPC and UTS namespaces, a read-only root, a /tmp of its own, no capabilities,
a seccomp profile and, unless the setting says "host", a network in which only its own Runtime API can be reached.
Mounts live in the mount namespace of `container_host`, which dies with this process: nothing can stay mounted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from preheat.kernel.image import ImageProgram
from preheat.sandbox.cgroup import Cgroup, CgroupParent, is_unified
from preheat.sandbox.process import MARK, kill_marked, peak_of
from preheat.sandbox.protocol import Launch, OnExit
from preheat.sandbox.runc_spec import TELEMETRY_FD, ContainerPlan, runc_spec

log = logging.getLogger(__name__)

_PACKET_BYTES = 1 << 20
_BUFFER_BYTES = 4 << 20
_CLOSING_S = 5.0
_HOST = Path(__file__).with_name("container_host.py")
_DEVICES = Path("/sys/fs/cgroup/devices")
"""Version 1's hierarchy in which runc makes a group for each container."""
_SKELETON = ("dev", "etc", "opt", "proc", "sys", "tmp", "var/task")
"""Where something is mounted, or Lambda's paths; below the image's own layers, which hide it where they have it."""


def unusable() -> str | None:
    """Why this machine cannot run containers; None where nothing speaks against it."""
    if not sys.platform.startswith("linux"):
        return "it takes Linux"
    if os.geteuid() != 0:
        return "it takes root (mounts and namespaces)"
    if runc() is None:
        return "runc is not installed (Debian: apt-get install runc)"
    if not _has_overlay():
        return "this kernel has no overlay file system (modprobe overlay)"
    return None


def _has_overlay() -> bool:
    return "overlay" in Path("/proc/filesystems").read_text()


def runc() -> str | None:
    return shutil.which("runc") or shutil.which("runc", path="/usr/sbin:/usr/local/sbin:/sbin")


class ContainerFactory:
    """Makes container sandboxes whose files lie below `root`."""

    name = "container"

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.group = f"preheat-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]}"
        self.cgroups = CgroupParent(self.group)
        self._host: _HostProcess | None = None

    @property
    def skeleton(self) -> Path:
        return self.root / ".skeleton"

    @property
    def state(self) -> Path:
        return self.root / ".runc"

    def create(self, environment: str) -> ContainerSandbox:
        return ContainerSandbox(self, environment)

    def host(self) -> _HostProcess:
        """The process that starts containers; started when first wanted, and again should it die."""
        if self._host is None or self._host.ended:
            for name in _SKELETON:
                (self.skeleton / name).mkdir(parents=True, exist_ok=True)
            (self.skeleton / "tmp").chmod(0o1777)
            (self.skeleton / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
            self._host = _HostProcess(self.root)
        return self._host

    def limits(self) -> list[str]:
        found = ["/tmp of a container is not limited in size: EphemeralStorage is not enforced"]
        if not self.cgroups.paths:
            found.append("memory and process counts of containers are not capped: no writable cgroup")
        return found

    def reap(self) -> int:
        """An earlier server's containers end with it; this is for those whose host was killed too."""
        killed = 0
        for group in self.cgroups.left_over():
            killed += group.kill()
            for inner in [entry for path in group.paths if path.is_dir() for entry in path.iterdir() if entry.is_dir()]:
                with contextlib.suppress(OSError):
                    inner.rmdir()
            group.remove()
        killed += kill_marked(str(self.root))
        self._remove_devices()
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        return killed

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
        self.cgroups.remove()
        self._remove_devices()

    def _remove_devices(self) -> None:
        """runc's groups, where the host has not lived to remove them."""
        for group in [*_DEVICES.glob(f"{self.group}/*/"), _DEVICES / self.group]:
            with contextlib.suppress(OSError):
                group.rmdir()


class ContainerSandbox:
    """One environment's place: its /tmp, its control group, at most one container."""

    origin = "init"

    def __init__(self, factory: ContainerFactory, environment: str) -> None:
        self._factory = factory
        self._environment = environment
        self._directory = factory.root / environment
        self.tmp = self._directory / "tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)
        self._cgroup: Cgroup | None = None
        self._container: _Container | None = None
        self._last: _Container | None = None
        self._launches = 0
        self._oom_seen = 0

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        if launch.image is None:
            raise OSError("the container sandbox runs functions from images only")
        if self._cgroup is None and self._factory.cgroups.paths:
            self._cgroup = self._factory.cgroups.child(self._environment, launch.memory_mb)
        self._launches += 1
        identity = f"{self._environment}-{self._launches}"
        directory = self._directory / str(self._launches)
        directory.mkdir()
        group = self._group()
        self._last = container = _Container(identity, on_exit, self._cgroup)
        with contextlib.ExitStack() as handles:
            fds = self._handles(launch, handles)
            message = {
                "launch": identity,
                "directory": str(directory),
                # highest first, as overlayfs wants them
                "layers": [*reversed(launch.image.layers), str(self._factory.skeleton)],
                "spec": runc_spec(self._plan(launch, launch.image, group)),
                "runc": self._argv(identity, directory),
                "state": str(self._factory.state),
                "group": group,
                "fds": [name for name, _ in fds],
            }
            container.host = self._factory.host()
            container.host.launch(container, message, [fd for _, fd in fds])
        self._container = container

    def _handles(self, launch: Launch, stack: contextlib.ExitStack) -> list[tuple[str, int]]:
        """What the host gets beside the message; `stack` closes what is opened here."""
        fds = [("output", launch.output_fd)]
        if launch.network_fd is not None:
            fds.append(("network", launch.network_fd))
        if self._cgroup is not None:
            opened = [] if is_unified() else [("join", fd) for fd in self._cgroup.open_procs()]
            if (thaw := self._cgroup.open_thaw()) is not None:
                opened.append((f"thaw {thaw[1]}", thaw[0]))
            for _, fd in opened:
                stack.callback(os.close, fd)
            fds += opened
        return fds

    def _plan(self, launch: Launch, image: ImageProgram, group: str) -> ContainerPlan:
        return ContainerPlan(
            command=image.command,
            working_dir=image.working_dir,
            environ={**launch.environ, "_LAMBDA_TELEMETRY_LOG_FD": str(TELEMETRY_FD)},
            tmp=str(self.tmp),
            hostname=self._environment[:12],
            group=group,
            memory_mb=launch.memory_mb if is_unified() else None,
        )

    def _group(self) -> str:
        """runc's own group. With version 1 it is one for devices only; with version 2, where no group has both
        processes and children, it lies below the one with our limits."""
        between = "/" if is_unified() else "-"
        return f"/{self._factory.group}/{self._environment}{between}{self._launches}"

    def _argv(self, identity: str, directory: Path) -> list[str]:
        command = runc()
        if command is None:
            raise OSError("runc is not installed")
        options = ["--root", str(self._factory.state), "--log", str(directory / "runc.log"), "--log-format", "json"]
        run = ["run", "--detach", "--no-new-keyring", "--preserve-fds", "1", "--bundle", str(directory)]
        return [command, *options, *run, "--pid-file", str(directory / "pid"), identity]

    @property
    def refusal(self) -> str:
        return self._last.refusal if self._last is not None else ""

    def limit_cpu(self, share: float | None) -> None:
        if self._cgroup is not None:
            self._cgroup.limit_cpu(share)

    def freeze(self) -> None:
        """Only what runs: the dying could not die."""
        if self._cgroup is not None and self._container is not None and self._container.pid is not None:
            self._cgroup.freeze()

    def thaw(self) -> None:
        if self._cgroup is not None:
            self._cgroup.thaw()

    def kill(self) -> None:
        container, self._container = self._container, None
        if container is not None and container.host is not None:
            container.host.kill(container)

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._cgroup is not None:
            self._cgroup.remove_soon()

    def peak_memory_mb(self) -> int:
        pid = self._container.pid if self._container is not None else None
        return peak_of(pid) if pid is not None else 0

    def out_of_memory(self) -> bool:
        """Since the last time this was asked."""
        kills = self._cgroup.oom_kills() if self._cgroup is not None else 0
        seen, self._oom_seen = self._oom_seen, kills
        return kills > seen


class _Container:
    """One launch as this process knows it. `pid` once it runs; `on_exit` is called once."""

    def __init__(self, identity: str, on_exit: OnExit, cgroup: Cgroup | None) -> None:
        self.identity = identity
        self.on_exit = on_exit
        self.cgroup = cgroup
        self.host: _HostProcess | None = None
        self.pid: int | None = None
        self.refusal = ""


class _HostProcess:
    """`container_host` as a child process, and its packets."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._root = str(root)
        self._containers: dict[str, _Container] = {}
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(OSError):
            self._control.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), _BUFFER_BYTES)
        self._control.setblocking(False)
        # the mark of what it starts: a later server finds by it what this one leaves
        argv = [sys.executable, "-I", "-S", str(_HOST), str(theirs.fileno()), f"{MARK}={self._root}"]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        with theirs:
            self._process = subprocess.Popen(
                argv, env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._loop.add_reader(self._control.fileno(), self._heard)

    @property
    def ended(self) -> bool:
        return self._control.fileno() < 0

    def launch(self, container: _Container, message: dict[str, Any], fds: list[int]) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], fds)
        self._containers[container.identity] = container

    def kill(self, container: _Container) -> None:
        if container.identity in self._containers and not self.ended:
            with contextlib.suppress(OSError):  # it has died, and its containers with it
                self._control.send(json.dumps({"kill": container.identity}).encode())

    def close(self) -> None:
        """End it and every container. Waits, bounded, until they are gone."""
        containers = self._end()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:
            self._kill(containers)

    def _heard(self) -> None:
        while True:
            try:
                data = self._control.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._died()
                return
            self._take(json.loads(data))

    def _take(self, message: dict[str, Any]) -> None:
        if "started" in message:
            container = self._containers.get(message["started"])
            if container is not None:
                container.pid = message["pid"]
            return
        container = self._containers.pop(message.get("exited") or message["failed"], None)
        if container is None:
            return
        if "failed" in message:
            container.refusal = message["why"]
        container.pid = None
        container.on_exit(message.get("code", 127))

    def _died(self) -> None:
        """Its containers live on, but nobody could tell how they end."""
        log.error("the container host has ended unexpectedly")
        containers = self._end()
        self._process.wait()
        self._kill(containers)
        for container in containers:
            container.pid = None
            container.on_exit(-signal.SIGKILL)

    def _kill(self, containers: list[_Container]) -> None:
        """What a living host does when it is told to, or when we have gone."""
        for container in containers:
            if container.cgroup is not None:
                container.cgroup.kill()
        kill_marked(self._root)

    def _end(self) -> list[_Container]:
        """Close our end; returns the containers it leaves."""
        if not self.ended:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        containers = list(self._containers.values())
        self._containers.clear()
        return containers
