"""Commands of an image's build in containers: runc over an overlay whose upper directory becomes the layer.

Mounts and processes belong to a mount and a PID namespace of the command's own, whose first process the kernel kills
with this one (prctl(2), PR_SET_PDEATHSIG): nothing stays mounted and nothing runs on, whatever happens to us.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from preheat.kernel.build import BuildCommand, Say
from preheat.sandbox.container import runc, unusable
from preheat.sandbox.runc_spec import MASKED, READ_ONLY
from preheat.sandbox.seccomp import profile

_TOOLS = ("setpriv", "unshare", "mount", "umount")
"""Of util-linux."""
_OWN_NAMESPACES = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
_OWN_NAMESPACES += ["--mount-proc", "--propagation", "private"]
_GROUP = "preheat-build"
_CGROUPS = Path("/sys/fs/cgroup")
_CAPABILITIES = """
AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
"""
"""Docker's default set less MKNOD: an image with device nodes would be refused."""
_TAIL_LINES = 20
_MOUNT_FAILED = 32
"""mount(8), "EXIT STATUS"."""
_SCRIPT = """set -e
cd {place}
LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay -o {options} {rootfs}
for point in {hierarchies}; do umount -l "$point"; done
{runc}
"""
"""Hierarchies of version 1 but the one for devices are hidden from runc, which would make a group in each."""


def cannot_build() -> str | None:
    """Why no command can be run in a container here; None where nothing speaks against it."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    return unusable() or (f"{missing[0]} is not installed (Debian: apt-get install util-linux)" if missing else None)


class BuildContainers:
    """A `kernel.build.BuildRunner`."""

    def run(self, command: BuildCommand, say: Say) -> Path:
        work, identity = command.work, uuid.uuid4().hex[:12]
        for name in ("upper", "overlay", "rootfs", "state"):
            (work / name).mkdir()
        skeleton = _skeleton(work / "skeleton", command)
        (work / "config.json").write_text(json.dumps(_spec(command, f"/{_GROUP}/{identity}")))
        tail: list[str] = []
        with subprocess.Popen(
            [*_OWN_NAMESPACES, "/bin/sh", "-c", _script(command, skeleton, identity)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    tail = [*tail[1 - _TAIL_LINES :], line.rstrip()]
                    say(f"  {line.rstrip()}")
            except BaseException:
                process.kill()
                raise
        _remove_groups()
        if process.returncode != 0:
            raise RuntimeError(_reason(process.returncode, tail, work / "runc.log"))
        return work / "upper"


def _script(command: BuildCommand, skeleton: Path, identity: str) -> str:
    """Directories are named from their common one: mount(2) takes a page of options at most."""
    work, below = command.work, [*reversed(command.layers), skeleton]
    place = Path(os.path.commonpath([work, *below]))
    options = [
        f"lowerdir={':'.join(str(path.relative_to(place)) for path in below)}",
        f"upperdir={(work / 'upper').relative_to(place)}",
        f"workdir={(work / 'overlay').relative_to(place)}",
        # what a layer has must be whole, not point into those below (overlayfs.rst)
        "redirect_dir=off,metacopy=off,index=off",
    ]
    program = [runc() or "runc", "--root", str(work / "state"), "--log", str(work / "runc.log"), "--log-format", "json"]
    program += ["run", "--no-new-keyring", "--bundle", str(work), identity]
    return _SCRIPT.format(
        place=shlex.quote(str(place)),
        options=shlex.quote(",".join(options)),
        rootfs=shlex.quote(str((work / "rootfs").relative_to(place))),
        hierarchies=" ".join(map(shlex.quote, _hierarchies())) or "''",
        runc=shlex.join(program),
    )


def _hierarchies() -> list[str]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return []
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{_CGROUPS}/") and point != f"{_CGROUPS}/devices"]


def _skeleton(root: Path, command: BuildCommand) -> Path:
    """The lowest layer: what is mounted on, where the image does not have it. Nothing of it gets into the layer."""
    for name in ("dev", "proc", "sys", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("hosts", "resolv.conf"):
        (root / "etc" / name).touch()
    for mount in command.mounts:
        place = root / mount.target.strip("/")
        if mount.target.startswith("/dev/"):
            continue
        if mount.source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    return root


def _spec(command: BuildCommand, group: str) -> dict[str, Any]:
    capabilities = [f"CAP_{name}" for name in _CAPABILITIES.split()]
    effective = capabilities if command.uid == 0 else []
    namespaces = ["mount", "ipc", "uts", "pid", *([] if command.network else ["network"])]
    seccomp = profile()
    seccomp["syscalls"].append({"names": ["chroot"], "action": "SCMP_ACT_ALLOW"})
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "preheat-build",
        "process": {
            "terminal": False,
            "user": {"uid": command.uid, "gid": command.gid, "additionalGids": list(command.groups), "umask": 0o022},
            "args": list(command.arguments),
            "env": [f"{name}={value}" for name, value in command.environ.items()],
            "cwd": command.working_dir,
            "capabilities": {
                "bounding": capabilities,
                "permitted": effective,
                "effective": effective,
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": False,
        },
        "mounts": _mounts(command),
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            "cgroupsPath": group,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "seccomp": seccomp,
        },
    }


def _mounts(command: BuildCommand) -> list[dict[str, Any]]:
    tight = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", tight),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        _mount("/dev/shm", "tmpfs", [*tight, "mode=1777", "size=65536k"]),
        _mount("/sys", "sysfs", [*tight, "ro"]),
    ]
    lent: Iterable[tuple[Path, str, bool]] = ((one.source, one.target, one.read_only) for one in command.mounts)
    network = [(Path(path), path, True) for path in ("/etc/hosts", "/etc/resolv.conf") if command.network]
    for source, target, read_only in (*network, *lent):
        if source.exists():
            options = ["rbind", "ro" if read_only else "rw", "nosuid", "nodev"]
            mounts.append({**_mount(target, "bind", options), "source": str(source.resolve())})
    return mounts


def _mount(destination: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": options}


def _remove_groups() -> None:
    """runc's group where it could not remove it, and those of builds that were killed; one in use stays."""
    for root in (_CGROUPS / "devices" / _GROUP, _CGROUPS / _GROUP):
        for group in (*root.glob("*/"), root):
            with contextlib.suppress(OSError):
                group.rmdir()


def _reason(code: int, tail: list[str], log: Path) -> str:
    """How it ended, and the line that says why: runc's own, where it could not start the command."""
    try:
        message = str(json.loads(log.read_text("utf-8", "replace").strip().splitlines()[-1])["msg"])
    except (OSError, IndexError, KeyError, ValueError):
        message = ""
    if message:
        return message.removeprefix("runc run failed: ").removeprefix("unable to start container process: ")
    said = next((line.strip() for line in reversed(tail) if line.strip()), "it printed nothing")
    if code == _MOUNT_FAILED and said.startswith("mount: "):
        return f"{said} (changes cannot lie on every file system, not on another overlay: give a --data-dir elsewhere)"
    if code > 128 or code < 0:
        return f"killed by signal {code - 128 if code > 128 else -code}: {said}"
    return f"exit status {code}: {said}"
