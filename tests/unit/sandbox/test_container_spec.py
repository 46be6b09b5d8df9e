"""What runc is told: nothing more is allowed than a function needs."""

from __future__ import annotations

import json

import pytest

from preheat.sandbox.runc_spec import ContainerPlan, runc_spec
from preheat.sandbox.seccomp import profile

PLAN = ContainerPlan(
    command=("/lambda-entrypoint.sh", "app.handler"),
    working_dir="/var/task",
    environ={"MODEL": "iris", "EMPTY": ""},
    tmp="/data/environments/e/tmp",
    hostname="abc",
    group="/preheat/e",
    memory_mb=None,
)


def test_the_process_is_the_images_and_has_no_privilege() -> None:
    spec = runc_spec(PLAN)
    process = spec["process"]
    assert process["args"] == ["/lambda-entrypoint.sh", "app.handler"]
    assert process["env"] == ["MODEL=iris", "EMPTY="]
    assert process["cwd"] == "/var/task"
    assert process["noNewPrivileges"] is True
    assert process["user"]["uid"] != 0
    assert [granted for granted in process["capabilities"].values() if granted] == []
    assert {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024} in process["rlimits"]
    assert spec["root"] == {"path": "rootfs", "readonly": True}
    json.dumps(spec)  # it is sent as JSON


def test_only_tmp_can_be_written_to() -> None:
    mounts = {mount["destination"]: mount for mount in runc_spec(PLAN)["mounts"]}
    assert mounts["/tmp"]["source"] == PLAN.tmp
    assert [place for place, mount in mounts.items() if mount["type"] == "bind"] == ["/tmp"]
    assert "ro" in mounts["/sys"]["options"]


def test_namespaces_are_its_own_and_the_host_adds_those_it_makes() -> None:
    kinds = [namespace["type"] for namespace in runc_spec(PLAN)["linux"]["namespaces"]]
    assert kinds == ["mount", "ipc", "uts"]


@pytest.mark.parametrize(("memory_mb", "controllers"), [(None, {"devices"}), (128, {"devices", "memory", "pids"})])
def test_limits_are_runcs_only_where_they_are_not_the_servers(memory_mb: int | None, controllers: set[str]) -> None:
    plan = ContainerPlan(("a",), "", {}, "/tmp", "h", "/g", memory_mb)
    spec = runc_spec(plan)
    assert spec["linux"]["resources"].keys() == controllers
    assert spec["process"]["cwd"] == "/"


@pytest.mark.parametrize(
    ("machine", "architectures"),
    [("x86_64", ["SCMP_ARCH_X86_64"]), ("aarch64", ["SCMP_ARCH_AARCH64"]), ("riscv64", [])],
)
def test_the_profile_is_for_native_calls_only(machine: str, architectures: list[str]) -> None:
    assert profile(machine)["architectures"] == architectures


def test_the_profile_refuses_what_it_does_not_name() -> None:
    rules = profile()
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    freely = {name for rule in rules["syscalls"] if "args" not in rule for name in rule["names"]}
    dangerous = {
        "mount",
        "umount2",
        "unshare",
        "setns",
        "ptrace",
        "bpf",
        "keyctl",
        "init_module",
        "kexec_load",
        "clone",
    }
    dangerous |= {"reboot", "swapon", "open_by_handle_at", "perf_event_open", "userfaultfd", "io_uring_setup", "socket"}
    assert not freely & dangerous
    assert {"read", "write", "openat", "mmap", "futex", "execve", "epoll_wait", "getrandom"} <= freely


def test_a_new_namespace_cannot_be_made_by_clone() -> None:
    (rule,) = [rule for rule in profile()["syscalls"] if rule["names"] == ["clone"]]
    (argument,) = rule["args"]
    user_and_network = 0x10000000 | 0x40000000
    assert argument["op"] == "SCMP_CMP_MASKED_EQ"
    assert argument["value"] & user_and_network == user_and_network
    assert argument["value"] & 0x00010F00 == 0  # what threads are made with
