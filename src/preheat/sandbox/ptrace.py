"""Makes a stopped process carry out system calls that it did not ask for (ptrace(2)); Linux on x86-64 only.

Each is one single step over the `syscall` instruction at which the process stands, with registers of ours: not one
instruction of its own program runs in between, so what the process holds meanwhile its program cannot use.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct

_SEIZE, _SETOPTIONS, _GETEVENTMSG, _GETREGS, _SETREGS = 0x4206, 0x4200, 0x4201, 12, 13
_SINGLESTEP, _CONT, _DETACH, _POKEDATA = 9, 7, 17, 5
TRACE_FORKS = 0x2 | 0x4 | 0x8
"""PTRACE_O_TRACE{FORK,VFORK,CLONE}: what it forks is traced and stands before its first instruction."""
KILL_WITH_TRACER = 0x00100000
SUSPEND_SECCOMP = 0x00200000
"""Its seccomp filters rest while it is traced. Takes CAP_SYS_ADMIN and a kernel with CONFIG_CHECKPOINT_RESTORE."""
_EVENT_STOP = 128
_WALL = 0x40000000
_REGISTERS = struct.Struct("=27Q")
_R10, _R9, _R8, _RAX, _RDX, _RSI, _RDI, _ORIG_RAX, _RIP, _RSP = 7, 8, 9, 10, 12, 13, 14, 15, 16, 19
"""Places in `struct user_regs_struct` (arch/x86/include/asm/user_64.h)."""
_ARGUMENTS = (_RDI, _RSI, _RDX, _R10, _R8, _R9)
_INSTRUCTION_BYTES = 2
_NONE = 2**64 - 1
_MAX_ERRNO = 4095
CLONE, FORK, SETNS, PIDFD_OPEN, CLOSE, PRCTL, CAPSET = 56, 57, 308, 434, 3, 157, 126
"""System call numbers (arch/x86/entry/syscalls/syscall_64.tbl)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def unusable() -> str | None:
    """Why this machine's processes cannot be led; None where nothing speaks against it."""
    if platform.machine() != "x86_64":
        return f"it is written for x86_64, and this machine is {platform.machine()}"
    return None


class Traced:
    """A process that this thread traces. Methods raise ProcessLookupError once it has died."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._memory = ctypes.create_string_buffer(_REGISTERS.size)

    @classmethod
    def seize(cls, pid: int, options: int) -> Traced:
        """Begin to trace a running process, which runs on."""
        traced = cls(pid)
        traced._ask(_SEIZE, 0, options)
        return traced

    def set_options(self, options: int) -> None:
        self._ask(_SETOPTIONS, 0, options)

    def wait_for_fork(self) -> int:
        """Let it run on until it forks; returns the pid of its child. It stands still then, as the child does."""
        while True:
            event, number = self.wait()
            if event in (1, 2, 3):  # PTRACE_EVENT_{FORK,VFORK,CLONE}
                return self._event_message()
            self._ask(_CONT, 0, 0 if event else number)

    def wait(self) -> tuple[int, int]:
        """(event, signal) of its next stop; event is 0 where it is about to be given the signal."""
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(f"process {self.pid} has died: {os.waitstatus_to_exitcode(status)}")
        return status >> 16, os.WSTOPSIG(status)

    def wait_until_born(self) -> None:
        """For a child of a traced process: it is stopped before its first instruction."""
        while self.wait()[0] != _EVENT_STOP:
            self._ask(_CONT, 0, 0)

    def registers(self) -> list[int]:
        self._ask(_GETREGS, 0, ctypes.addressof(self._memory))
        return list(_REGISTERS.unpack(self._memory.raw))

    def call(self, number: int, *arguments: int, at: list[int]) -> int:
        """One system call; `at` are registers taken while it stood right behind a `syscall` instruction.

        Returns what the call does, a new process's pid for clone. Raises OSError for its error.
        """
        self._set(self._prepared(number, arguments, at))
        child = 0
        while True:
            self._ask(_SINGLESTEP, 0, 0)
            event, stopped_by = self.wait()
            if event in (1, 2, 3):
                child = self._event_message()
            elif event == 0 and stopped_by == signal.SIGTRAP:
                break  # any other signal is kept from it
        result = self.registers()[_RAX]
        if result > _NONE - _MAX_ERRNO:
            raise OSError(_NONE - result + 1, os.strerror(_NONE - result + 1))
        return child or result

    def _prepared(self, number: int, arguments: tuple[int, ...], at: list[int]) -> list[int]:
        registers = list(at)
        registers[_RIP] = at[_RIP] - _INSTRUCTION_BYTES
        registers[_RAX] = number
        registers[_ORIG_RAX] = _NONE  # nothing to restart
        for place, argument in zip(_ARGUMENTS, arguments, strict=False):
            registers[place] = argument
        return registers

    def write(self, address: int, data: bytes) -> None:
        """Whole words of 8 bytes."""
        for offset in range(0, len(data), 8):
            self._ask(_POKEDATA, address + offset, int.from_bytes(data[offset : offset + 8], "little"))

    def let_go(self, registers: list[int]) -> None:
        """Stop tracing: it runs on from `registers`, its seccomp filters in force."""
        self._set(registers)
        self._ask(_DETACH, 0, 0)

    def _set(self, registers: list[int]) -> None:
        self._memory.raw = _REGISTERS.pack(*registers)
        self._ask(_SETREGS, 0, ctypes.addressof(self._memory))

    def _event_message(self) -> int:
        message = ctypes.c_ulong()
        self._ask(_GETEVENTMSG, 0, ctypes.addressof(message))
        return message.value

    def _ask(self, request: int, address: int, data: int) -> None:
        if _libc.ptrace(request, self.pid, address, data) == -1:
            number = ctypes.get_errno()
            raise OSError(number, f"ptrace request {request:#x}: {os.strerror(number)}")


def fork_arguments(registers: list[int]) -> tuple[int, ...]:
    """Arguments of the fork that a process stands right behind, to have it forked so again: clone's own, or what
    the older system call `fork` means."""
    if registers[_ORIG_RAX] == CLONE:
        return tuple(registers[place] for place in _ARGUMENTS[:5])
    return (int(signal.SIGCHLD), 0, 0, 0, 0)


def scratch(registers: list[int]) -> int:
    """An address on its stack, below all that its program uses (the red zone is 128 bytes)."""
    return (registers[_RSP] - 4096) & ~0xF
