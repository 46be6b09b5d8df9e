"""The system calls that a container may make: what Docker's default profile leaves to a process without
capabilities (docs.docker.com/engine/security/seccomp), less what a function has no use for: 32-bit calls, io_uring,
ptrace, landlock, the message queues' and System V's rarer relatives stay out. What is not named here fails with EPERM.
"""

from __future__ import annotations

import platform
from typing import Any

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_EPERM, _ENOSYS = 1, 38
_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} of clone(2)."""
_AF_VSOCK = 40
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Asking, Linux, UNAME26 and both: those that change no protection of memory."""

_FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr
fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr
lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64
pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile
setxattr splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat
utime utimensat utimes vmsplice write writev
"""
_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
pause pipe pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit
"""
_NETWORK = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
sendto setsockopt shutdown socketpair
"""
_MEMORY = """
brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages shmat shmctl shmdt shmget
"""
_PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getegid geteuid
getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid
getuid ioprio_get ioprio_set kill modify_ldt pidfd_open pidfd_send_signal prctl prlimit64 rseq sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area
set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid
setrlimit setsid setuid sysinfo tgkill times tkill uname vfork wait4 waitid
"""
_SIGNALS_AND_LOCKS = """
futex futex_wait futex_waitv futex_wake futex_requeue restart_syscall rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo semctl semget semop semtimedop
sigaltstack msgctl msgget msgrcv msgsnd
"""
_TIME_AND_CHANCE = """
adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday nanosleep
setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
"""
_ALLOWED = (_FILES, _WAITING, _NETWORK, _MEMORY, _PROCESSES, _SIGNALS_AND_LOCKS, _TIME_AND_CHANCE)


def profile(machine: str = "") -> dict[str, Any]:
    """`linux.seccomp` of an OCI runtime configuration, for this machine's own architecture."""
    allow = "SCMP_ACT_ALLOW"
    rules: list[dict[str, Any]] = [
        {"names": sorted(" ".join(_ALLOWED).split()), "action": allow},
        {"names": ["socket"], "action": allow, "args": [_argument(_AF_VSOCK, "SCMP_CMP_NE")]},
        {"names": ["clone"], "action": allow, "args": [_argument(_NAMESPACES, "SCMP_CMP_MASKED_EQ")]},
        # its flags lie in memory, where a filter cannot look: the C library then takes clone
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]
    rules += [
        {"names": ["personality"], "action": allow, "args": [_argument(value, "SCMP_CMP_EQ")]}
        for value in _PERSONALITIES
    ]
    architecture = _ARCHITECTURES.get(machine or platform.machine())
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [architecture] if architecture else [],
        "syscalls": rules,
    }


def _argument(value: int, operator: str) -> dict[str, Any]:
    return {"index": 0, "value": value, "op": operator}
