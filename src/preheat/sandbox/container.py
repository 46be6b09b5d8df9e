"""The `container` sandbox: an image's layers under an overlay, run by runc, without a daemon.

Each environment has its own mount, PID, IPC and UTS namespaces, a read-only root, a /tmp of its own, no capabilities,
a seccomp profile and, unless the setting says "host", a network in which only its own Runtime API can be reached.
Mounts live in the mount namespace of `container_host`, which dies with this process: nothing can stay mounted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preheat.kernel.image import ImageProgram
from preheat.sandbox.cgroup import Cgroup, CgroupParent, is_unified
from preheat.sandbox.host_process import Container, HostProcess
from preheat.sandbox.namespaces import GUEST_MOUNT
from preheat.sandbox.network import RUNTIME_API
from preheat.sandbox.process import kill_marked, peak_of
from preheat.sandbox.protocol import Launch, OnExit
from preheat.sandbox.runc_spec import TELEMETRY_FD, ContainerPlan, runc_spec
from preheat.sandbox.soon import remove_tree, until_done
from preheat.sandbox.tmp_disk import TmpDisks

_GUEST = Path(__file__).parents[1] / "guest"
_FORK_HOST = "preheat.sandbox.fork_host"
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

    def __init__(self, root: Path, *, isolated: bool = True) -> None:
        """`isolated`: what is forked from a snapshot has a network of its own; others get theirs with the launch."""
        self.isolated = isolated
        self.root = root.absolute()
        self.group = f"preheat-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]}"
        self.cgroups = CgroupParent(self.group)
        self.disks = TmpDisks(self.root)
        self._host: HostProcess | None = None

    @property
    def skeleton(self) -> Path:
        return self.root / ".skeleton"

    def skeletons(self, template: bool) -> list[Path]:
        """Directories below an image's own layers; a template has one more, for our client."""
        return [self.skeleton, self.root / ".skeleton-template"] if template else [self.skeleton]

    @property
    def state(self) -> Path:
        return self.root / ".runc"

    def create(self, environment: str) -> ContainerSandbox:
        return ContainerSandbox(self, environment)

    def host(self) -> HostProcess:
        """The process that starts containers; started when first wanted, and again should it die."""
        if self._host is None or self._host.ended:
            for name in _SKELETON:
                (self.skeleton / name).mkdir(parents=True, exist_ok=True)
            (self.skeleton / "tmp").chmod(0o1777)
            (self.skeleton / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
            for path in self.skeletons(True)[1:]:
                path.joinpath(GUEST_MOUNT.strip("/")).mkdir(parents=True, exist_ok=True)
            self._host = HostProcess(self.root)
        return self._host

    def limits(self) -> list[str]:
        found = []
        if (why := self.disks.unusable()) is not None:
            found.append(f"/tmp of a container is not limited in size (EphemeralStorage): {why}")
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
        self.disks.close()
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
    output_pipe: str | None = ""

    def __init__(self, factory: ContainerFactory, environment: str) -> None:
        self._factory = factory
        self._environment = environment
        self._directory = factory.root / environment
        self.tmp = self._directory / "tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)
        self._cgroup: Cgroup | None = None
        self._container: Container | None = None
        self._last: Container | None = None
        self._launches = 0
        self._oom_seen = 0
        self.forks: socket.socket | None = None
        """The other end of a fork host's control; what is launched then is a template (`container_template`)."""

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
        self._last = container = Container(identity, on_exit, self._cgroup, self.forks is not None)
        with contextlib.ExitStack() as handles:
            fds = self._handles(launch, handles) + self._disk(launch, handles)
            message = {
                "launch": identity,
                "directory": str(directory),
                # highest first, as overlayfs wants them
                "layers": [*reversed(launch.image.layers), *map(str, self._factory.skeletons(self.forks is not None))],
                "spec": runc_spec(self._plan(launch, launch.image, group)),
                "runc": self._argv(identity, directory),
                "state": str(self._factory.state),
                "group": group,
                "tmp": str(self.tmp),
                "fds": [name for name, _ in fds],
                **(self._fork_host() if self.forks is not None else {}),
            }
            container.host = self._factory.host()
            container.host.launch(container, message, [fd for _, fd in fds])
        self._container = container

    def _fork_host(self) -> dict[str, Any]:
        isolated = self._factory.isolated
        argv = [sys.executable, "-I", "-m", _FORK_HOST, *(["isolated"] if isolated else [])]
        return {"fork_host": argv, "isolated": isolated}

    def _handles(self, launch: Launch, stack: contextlib.ExitStack) -> list[tuple[str, int]]:
        """What the host gets beside the message; `stack` closes what is opened here."""
        fds = [("output", launch.output_fd)]
        for name, fd in (("network", launch.network_fd), ("control", launch.control_fd)):
            if fd is not None:
                fds.append((name, fd))
        if self.forks is not None:
            fds.append(("forks", self.forks.fileno()))
        if self._cgroup is not None:
            opened = [] if is_unified() else [("join", fd) for fd in self._cgroup.open_procs()]
            if (thaw := self._cgroup.open_thaw()) is not None:
                opened.append((f"thaw {thaw[1]}", thaw[0]))
            for _, fd in opened:
                stack.callback(os.close, fd)
            fds += opened
        return fds

    def _disk(self, launch: Launch, stack: contextlib.ExitStack) -> list[tuple[str, int]]:
        """What the first launch puts at /tmp, where this machine can limit it; a template's is nobody's."""
        if self._launches > 1 or self.forks is not None:
            return []
        try:
            disk = self._factory.disks.take(launch.tmp_mb)
        except OSError:  # `limits` says so, where it is foreseeable
            return []
        stack.callback(os.close, disk)
        return [("tmp", disk)]

    def _plan(self, launch: Launch, image: ImageProgram, group: str) -> ContainerPlan:
        return ContainerPlan(
            command=image.command,
            working_dir=image.working_dir,
            environ={
                **launch.environ,
                "_LAMBDA_TELEMETRY_LOG_FD": str(TELEMETRY_FD),
                **(_led_by_us(launch.environ) if self.forks is not None else {}),
            },
            tmp=str(self.tmp),
            hostname=self._environment[:12],
            group=group,
            memory_mb=launch.memory_mb if is_unified() else None,
            guest=str(_GUEST) if self.forks is not None else "",
        )

    def _group(self) -> str:
        """runc's own group. With version 1 it is one for devices only; with version 2, where no group has both
        processes and children, it lies below the one with our limits."""
        between = "/" if is_unified() else "-"
        environment = self._factory.cgroups.name(self._environment)
        return f"/{self._factory.group}/{environment}{between}{self._launches}"

    def _argv(self, identity: str, directory: Path) -> list[str]:
        command = runc()
        if command is None:
            raise OSError("runc is not installed")
        options = ["--root", str(self._factory.state), "--log", str(directory / "runc.log"), "--log-format", "json"]
        handed = "1" if self.forks is None else "2"
        run = ["run", "--detach", "--no-new-keyring", "--preserve-fds", handed, "--bundle", str(directory)]
        return [command, *options, *run, "--pid-file", str(directory / "pid"), identity]

    def kept(self, launch: Launch) -> list[str]:
        """Nothing that a container needs lies below the machine's /tmp (compare `ProcessSandbox.kept`)."""
        return []

    def unlimit(self) -> None:
        if self._cgroup is not None:
            self._cgroup.unlimit()

    @property
    def pid(self) -> int | None:
        """Of the container's first process, on this machine."""
        return self._container.pid if self._container is not None else None

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
        until_done(lambda: remove_tree(self._directory))
        if self._cgroup is not None:
            until_done(self._cgroup.remove)

    def peak_memory_mb(self) -> int:
        pid = self._container.pid if self._container is not None else None
        return peak_of(pid) if pid is not None else 0

    def out_of_memory(self) -> bool:
        """Since the last time this was asked."""
        kills = self._cgroup.oom_kills() if self._cgroup is not None else 0
        seen, self._oom_seen = self._oom_seen, kills
        return kills > seen


def _led_by_us(environ: Mapping[str, str]) -> dict[str, str]:
    """What makes the image's own bootstrap take our client (`guest/sitecustomize.py`)."""
    own = environ.get("PYTHONPATH", "")
    return {
        "PYTHONPATH": f"{GUEST_MOUNT}:{own}" if own else GUEST_MOUNT,
        "_PREHEAT_CONTROL_FD": str(TELEMETRY_FD + 1),
        "AWS_LAMBDA_RUNTIME_API": "{}:{}".format(*RUNTIME_API),  # or its start script would start an emulator
    }
