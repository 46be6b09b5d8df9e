"""The OCI runtime configuration of one container (github.com/opencontainers/runtime-spec, config.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preheat.sandbox.cgroup import PIDS_MAX
from preheat.sandbox.namespaces import GUEST_MOUNT
from preheat.sandbox.seccomp import profile

UID, GID = 993, 990
"""Lambda runs an image as a user of its own, whatever the image says (guide, "Create a function using a container
image": no USER needed); these numbers are what `id` prints there (unverified)."""
NOFILE = 1024
"""File descriptors of an environment (Lambda quotas)."""
TELEMETRY_FD = 3
"""Where the runtime's client finds the log: the first descriptor that is handed through (runc --preserve-fds 1)."""

MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/cgroup",
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
"""Both lists are Docker's and containerd's defaults."""
_TIGHT = ["nosuid", "noexec", "nodev"]


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What differs from one container to the next. `group` is its control group's path, from the root down."""

    command: Sequence[str]
    working_dir: str
    environ: Mapping[str, str]
    tmp: str
    hostname: str
    group: str
    memory_mb: int | None
    """None where the server has set the limits already (version 1 control groups)."""
    guest: str = ""
    """The directory with our client, for a template of snapshots."""


def runc_spec(plan: ContainerPlan) -> dict[str, Any]:
    """The configuration, less the PID and network namespaces, which the host adds when it has made them."""
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "hostname": plan.hostname,
        "process": {
            "terminal": False,
            "user": {"uid": UID, "gid": GID, "umask": 0o022},
            "args": list(plan.command),
            "env": [f"{name}={value}" for name, value in plan.environ.items()],
            "cwd": plan.working_dir or "/",
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
            "noNewPrivileges": True,
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": NOFILE, "hard": NOFILE},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ],
        },
        "mounts": _mounts(plan.tmp) + _guest(plan.guest),
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
            "cgroupsPath": plan.group,
            "resources": _resources(plan.memory_mb),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "seccomp": profile(),
        },
    }


def _resources(memory_mb: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if memory_mb is not None:
        found["memory"] = {"limit": memory_mb * 2**20, "swap": memory_mb * 2**20}
        found["pids"] = {"limit": PIDS_MAX}
    return found


def _mounts(tmp: str) -> list[dict[str, Any]]:
    """No /dev/shm: Lambda has none either, so multiprocessing's locks fail here as they do there."""
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _TIGHT},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "mode=755", "size=64k"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_TIGHT, "ro"]},
        {"destination": "/tmp", "type": "bind", "source": tmp, "options": ["rbind", "rw", "nosuid", "nodev"]},
    ]


def _guest(directory: str) -> list[dict[str, Any]]:
    """Environments do not see it: `namespaces.Places` leaves it out of theirs."""
    options = ["bind", "ro", "nosuid", "nodev"]
    mount = {"destination": GUEST_MOUNT, "type": "bind", "source": directory, "options": options}
    return [mount] if directory else []
