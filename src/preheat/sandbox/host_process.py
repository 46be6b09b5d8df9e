"""`container_host` as this process knows it: a child process, its packets, and the containers that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from preheat.sandbox.cgroup import Cgroup
from preheat.sandbox.process import MARK, kill_marked
from preheat.sandbox.protocol import OnExit

log = logging.getLogger(__name__)

_PACKET_BYTES = 1 << 20
_BUFFER_BYTES = 4 << 20
_CLOSING_S = 5.0
_HOST = Path(__file__).with_name("container_host.py")


class Container:
    """One launch as this process knows it. `pid` once it runs; `on_exit` is called once."""

    def __init__(self, identity: str, on_exit: OnExit, cgroup: Cgroup | None, template: bool) -> None:
        self.identity = identity
        self.on_exit = on_exit
        self.cgroup = cgroup
        self.template = template
        """Its PID namespace goes on when its first process has ended, until it is killed."""
        self.host: HostProcess | None = None
        self.pid: int | None = None
        self.refusal = ""


class HostProcess:
    """`container_host` as a child process, and its packets."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._root = str(root)
        self._containers: dict[str, Container] = {}
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

    def launch(self, container: Container, message: dict[str, Any], fds: list[int]) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], fds)
        self._containers[container.identity] = container

    def kill(self, container: Container) -> None:
        if container.identity in self._containers and not self.ended:
            with contextlib.suppress(OSError):  # it has died, and its containers with it
                self._control.send(json.dumps({"kill": container.identity}).encode())
            if container.template and container.pid is None:
                del self._containers[container.identity]

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
        identity = message.get("exited") or message["failed"]
        container = self._containers.get(identity)
        if container is None:
            return
        if "failed" in message or not container.template:
            del self._containers[identity]
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

    def _kill(self, containers: list[Container]) -> None:
        """What a living host does when it is told to, or when we have gone."""
        for container in containers:
            if container.cgroup is not None:
                container.cgroup.kill()
        kill_marked(self._root)

    def _end(self) -> list[Container]:
        """Close our end; returns the containers it leaves."""
        if not self.ended:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        containers = list(self._containers.values())
        self._containers.clear()
        return containers
