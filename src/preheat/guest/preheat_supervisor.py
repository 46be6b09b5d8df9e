"""The first process of an environment with external extensions: it starts them, then the runtime, and tells of ends.

Over a socket from the server: "G" starts the runtime, "T" asks it to end (SIGTERM), "K" kills it. To the server a JSON
line for each end: {"exited": name of the extension or "" for the runtime, "code": exit status or minus the signal};
126 is an extension that could not be started. When the socket closes, everything ends.
`execution/supervisor.py` is the other end.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1
_RUNTIMES_OWN = (
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
    "_LAMBDA_TELEMETRY_LOG_FD",
)
"""Variables that extensions do not get (guide, "Using the Lambda Extensions API", environment variables)."""


def run(control_fd, output_fd, extensions, mark):
    """Returns in the runtime's process only. `output_fd` is the extensions' log, `extensions` are their paths, `mark`
    is the variable by which a later server finds what this one may leave."""
    control = socket.socket(fileno=control_fd)
    woken_fd, wake_fd = os.pipe()
    os.set_blocking(wake_fd, False)
    os.set_blocking(woken_fd, False)
    signal.set_wakeup_fd(wake_fd)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    names = {}
    for path in extensions:
        names[_start_extension(path, output_fd, mark)] = os.path.basename(path)
    runtime = 0
    while True:
        select.select([control, woken_fd], [], [])
        _drain(woken_fd)
        for pid, code in _ended():
            _tell(control, {"exited": names.get(pid, ""), "code": code})
            runtime = 0 if pid == runtime else runtime
        for word in _heard(control):
            if word in b"TK" and runtime:
                os.kill(runtime, signal.SIGTERM if word in b"T" else signal.SIGKILL)
            elif word in b"G" and not runtime:
                runtime = _fork()
                if not runtime:
                    control.close()
                    os.close(output_fd)
                    os.close(woken_fd)
                    os.close(wake_fd)
                    return


def _start_extension(path, output_fd, mark):
    pid = _fork()
    if pid:
        return pid
    try:
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.closerange(3, 1024)
        environ = {name: value for name, value in os.environ.items() if name not in _RUNTIMES_OWN}
        environ.update(mark)
        os.execve(path, [path], environ)
    except OSError as error:
        os.write(2, ("fork/exec %s: %s\n" % (path, (error.strerror or str(error)).lower())).encode())
    finally:
        os._exit(126)


def _fork():
    """A child that ends with us, with signals as they were."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    return pid


def _ended():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _heard(control):
    try:
        data = control.recv(64, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""
    except OSError:
        data = b""
    if not data:
        os.killpg(0, signal.SIGKILL)  # the server has gone, or has given this environment up
        sys.exit(1)
    return data


def _tell(control, message):
    with contextlib.suppress(OSError):  # the server has gone: the next word heard is its end
        control.sendall(json.dumps(message).encode() + b"\n")


def _drain(fd):
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass
