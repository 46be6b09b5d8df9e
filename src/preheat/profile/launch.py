"""One start of a function's runtime, timed from outside, with or without the watcher inside.

The process is the one that the `process` sandbox starts (same guest, same variables), so its init is what the
local cloud reports as Init Duration: from before the process is started until the runtime asks for work.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from preheat.kernel.errors import PreheatError

INIT_LIMIT_S = 120.0
"""Init may take longer than AWS's 10 s here: a profile is wanted most where it does."""
_ENDING_S = 5.0

# The frames of `preheat.guest.preheat_client`, which says what they hold.
_HEAD = struct.Struct("!IB")
_INVOKE = struct.Struct("!IQI")
_READY = struct.Struct("!QQB")
_PEAK_BYTES = 5

_PRELUDE = (
    "import time as _time; _began = _time.monotonic_ns(); import sys as _sys; _sys.path[0] = {guest!r}; "
    "import preheat_profile as _profile; _profile.install(_began)"
)


@dataclass(frozen=True, slots=True)
class Program:
    """What is started. `variables` are the runtime's and the function's environment variables."""

    interpreter: Path
    guest_dir: Path
    runtime_dir: Path
    code_dir: Path
    handler: str
    variables: Mapping[str, str]
    arn: str = "arn:aws:lambda:us-east-1:000000000000:function:profile"

    @property
    def handler_module(self) -> str:
        """The name under which AWS's client imports it: "dir/module.function" is dir.module."""
        return self.handler.rpartition(".")[0].replace("/", ".")


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from before the process until it asked for work, and its three parts."""

    init_ms: float
    spawn_ms: float
    runtime_ms: float
    handler_ms: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched start: when it was launched and its runtime was ready (monotonic ns), and what the watcher wrote."""

    launched_ns: int
    runtime_ready_ns: int
    result: Mapping[str, Any]
    answers: Sequence[bytes]
    errors: int
    """How many of the answers were errors."""


def prepare(guest_dir: Path, into: Path) -> Path:
    """Write the guest's first code into a directory, with the watcher's before it; returns the directory.

    Run in place of `guest_dir` it is the same code at the same depth of the stack (preheat_profile says why
    that matters); its first run leaves a .pyc file beside it, as the guest's own has one.
    """
    source = (guest_dir / "__main__.py").read_text("utf-8")
    body = ast.parse(source).body
    preamble: list[ast.stmt] = [
        node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    if ast.get_docstring(ast.Module(body, []), clean=False) is not None:
        preamble.append(body[0])
    lines = source.splitlines()
    lines.insert(max((node.end_lineno or 0 for node in preamble), default=0), _PRELUDE.format(guest=str(guest_dir)))
    (into / "__main__.py").write_text("\n".join(lines) + "\n", "utf-8")
    return into


def measure(program: Program) -> Start:
    """Start the function as it is. Raises PreheatError with the function's own words if its init fails."""
    with _running(program, program.guest_dir) as (_, channel, launched_ns):
        ready_ns, started_ns, runtime_ns = _until_ready(channel)
    parts = (launched_ns, started_ns, runtime_ns, ready_ns)
    spawn, runtime, handler = ((after - before) / 1e6 for before, after in itertools.pairwise(parts))
    return Start((ready_ns - launched_ns) / 1e6, spawn, runtime, handler)


def watch(program: Program, watcher_dir: Path, *, events: Sequence[bytes] | None = None) -> Watched:
    """Start with the watcher (`prepare`): times only, or in detail and through one invocation for each of `events`."""
    with tempfile.TemporaryFile() as result:
        count = -1 if events is None else len(events)
        with _running(program, watcher_dir, result.fileno(), count) as (process, channel, launched_ns):
            _, _, runtime_ns = _until_ready(channel)
            answers, errors = [], 0
            for number, event in enumerate(events or ()):
                kind, body = _invoke(program, channel, number, event)
                answers.append(body)
                errors += kind == b"E"
            channel.shutdown(socket.SHUT_WR)
            process.wait(INIT_LIMIT_S)  # the watcher writes before it finds the channel closed
        result.seek(0)
        return Watched(launched_ns, runtime_ns, _with_own_paths(program, json.loads(result.read())), answers, errors)


def _with_own_paths(program: Program, result: dict[str, Any]) -> dict[str, Any]:
    """The watcher's result with paths as they are outside: inside, code is at /var/task wherever that can be had."""
    inside = map(str, result.pop("roots"))
    roots = dict(zip(inside, map(str, (program.code_dir, program.runtime_dir)), strict=True))

    def outside(path: str | None) -> str | None:
        for inside, own in roots.items():
            if path is not None and path.startswith(inside + os.sep):
                return own + path[len(inside) :]
        return path

    files, modules = result["files"], result.get("modules", {})
    return result | {
        "files": {outside(path): facts for path, facts in files.items()},
        "modules": {name: outside(path) for name, path in modules.items()},
    }


_Running = tuple["subprocess.Popen[bytes]", socket.socket, int]


@contextlib.contextmanager
def _running(program: Program, first_code: Path, result_fd: int | None = None, count: int = 0) -> Iterator[_Running]:
    """(process, our end of its channel, when it was launched); nothing of it is left behind. Its early end
    becomes an error that says how it ended."""
    ours, theirs = socket.socketpair()
    ours.settimeout(INIT_LIMIT_S)
    with ours, theirs, tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory(prefix="preheat-") as tmp:
        Path(tmp).chmod(0o1777)
        fds = [output.fileno(), theirs.fileno()]
        environ = _environ(program, tmp, *fds)
        if result_fd is not None:
            environ["_PREHEAT_PROFILE"] = f"{result_fd}:{count}"
            fds.append(result_fd)
        command = [str(program.interpreter), "-S", str(first_code)]
        launched_ns = time.monotonic_ns()
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=program.code_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=fds,
            start_new_session=True,
        )
        try:
            theirs.close()
            yield process, ours, launched_ns
        except (EOFError, ConnectionError):
            raise PreheatError(f"the function's process {_how_it_ended(process, output)}", 255) from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environ(program: Program, tmp: str, output_fd: int, channel_fd: int) -> dict[str, str]:
    return {
        **program.variables,
        "_HANDLER": program.handler,
        "LAMBDA_TASK_ROOT": str(program.code_dir),
        "LAMBDA_RUNTIME_DIR": str(program.runtime_dir),
        "_LAMBDA_TELEMETRY_LOG_FD": str(output_fd),
        "_PREHEAT_TASK": str(program.code_dir),
        "_PREHEAT_CHANNEL_FD": str(channel_fd),
        "_PREHEAT_KEEP": os.pathsep.join(_below_tmp(program)),
        "_PREHEAT_TMP": tmp,
    }


def _below_tmp(program: Program) -> list[str]:
    """Directories below /tmp that the runtime reads and that its own /tmp would hide."""
    interpreter = program.interpreter
    needed = [program.code_dir, program.runtime_dir, program.guest_dir]
    needed += [interpreter.parent.parent, interpreter.resolve().parent.parent]
    needed += [link.resolve().parent for link in program.runtime_dir.iterdir() if link.is_symlink()]
    below = sorted({path for path in map(Path.absolute, needed) if Path("/tmp") in path.parents})
    return [str(path) for path in below if not any(other in path.parents for other in below)]


def _until_ready(channel: socket.socket) -> tuple[int, int, int]:
    """(now, the guest's start, its runtime's readiness) in monotonic ns, at the first request for work."""
    kind, body = _receive(channel)
    now_ns = time.monotonic_ns()
    if kind == b"N":
        started_ns, runtime_ns, _ = _READY.unpack(body)
        return now_ns, started_ns, runtime_ns
    error = json.loads(body)
    raise PreheatError(f"the function's init fails: {error.get('errorType')}: {error.get('errorMessage')}", 255)


def _invoke(program: Program, channel: socket.socket, number: int, event: bytes) -> tuple[bytes, bytes]:
    """(b"R" or b"E", body) of one invocation."""
    meta = "\0".join((f"00000000-0000-4000-8000-{number:012}", program.arn, "", "")).encode()
    deadline_ms = int((time.time() + INIT_LIMIT_S) * 1000)
    payload = _INVOKE.pack(0, deadline_ms, len(meta)) + meta + event
    channel.sendall(_HEAD.pack(len(payload), ord("I")) + payload)
    kind, body = _receive(channel)
    return kind, body[_PEAK_BYTES:]


def _receive(channel: socket.socket) -> tuple[bytes, bytes]:
    try:
        size, kind = _HEAD.unpack(_exactly(channel, _HEAD.size))
        return bytes((kind,)), _exactly(channel, size)
    except TimeoutError:
        raise PreheatError(f"the function was not done within {INIT_LIMIT_S:.0f} s", 255) from None


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _how_it_ended(process: subprocess.Popen[bytes], output: BinaryIO) -> str:
    """And the last line that it printed."""
    try:
        code = process.wait(_ENDING_S)
        how = f"ended with exit status {code}" if code >= 0 else f"was killed by signal {-code}"
    except subprocess.TimeoutExpired:
        how = "closed its channel"
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 8192))
    lines = output.read().decode("utf-8", errors="replace").strip().splitlines()
    return f"{how}: {(lines or ['it printed nothing'])[-1]}"
