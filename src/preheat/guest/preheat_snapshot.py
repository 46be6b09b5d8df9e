"""The template of a SnapStart function: a runtime held at its restore point, forked for each environment.

AWS's bootstrap runs init and the before-snapshot hooks, then calls `restore_next()` on its client. Here
that call never returns in the template: it serves fork requests, and returns in each child, which then
runs the after-restore hooks and asks for work like any other environment (ARCHITECTURE.md, decision 3).

Control socket, frames as in preheat_client: to the server S (snapshot taken; JSON), X (init error), F
(forked: pid and the pid of its namespace's init or 0), E (a child has ended: pid, status); from it the
wish for a child (JSON: its /tmp and what must stay reachable below it) with a socket, on which the child
waits for its orders (JSON: its variables; its output and its channel as descriptors).
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time

import preheat_client
import preheat_isolation

_FORKED = struct.Struct("!II")
_ENDED = struct.Struct("!Ii")
_MESSAGE_MAX = 262_144


def run(handler, control_fd, telemetry_fd):
    """Load the handler, hold at the restore point, serve forks; never returns in the template."""
    import preheat_watch

    watch = preheat_watch.start(os.environ["LAMBDA_TASK_ROOT"])
    preheat_client.without_native_client()
    from awslambdaric import bootstrap

    control = socket.socket(fileno=control_fd)
    preheat_client.bootstrap_run(bootstrap, handler, TemplateClient(control, telemetry_fd, watch))


class TemplateClient:
    """The runtime client of the template, and after the fork of its children."""

    def __init__(self, control, telemetry_fd, watch):
        from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

        self.marshaller = LambdaMarshaller()
        self._control = control
        self._telemetry_fd = telemetry_fd
        self._watch = watch
        self._client = None

    def post_init_error(self, error_response_data, error_type_override=None):
        body = preheat_client.init_error(error_response_data, error_type_override)
        preheat_client.send_frame(self._control, b"X", body)

    def restore_next(self):
        fork_server = ForkServer(self._control, self._telemetry_fd)
        self._client = fork_server.serve(self._watch.findings())

    def report_restore_error(self, restore_error_data):
        self._client.report_restore_error(restore_error_data)

    def wait_next_invocation(self):
        return self._client.wait_next_invocation()

    def post_invocation_result(self, *arguments):
        self._client.post_invocation_result(*arguments)

    def post_invocation_error(self, *arguments):
        self._client.post_invocation_error(*arguments)


class ForkServer:
    def __init__(self, control, telemetry_fd):
        self._control = control
        self._telemetry_fd = telemetry_fd
        self._namespaces = preheat_isolation.PidNamespaces()
        self._inits = {}

    def serve(self, findings):
        """Serve forks for as long as the server lives; returns, in each child, its runtime client."""
        # what init left behind is garbage now or lives for good: children must not copy pages to find out
        gc.collect()
        gc.freeze()
        # a child's end wakes the poll through a pipe: a Python handler alone could be missed just before a wait
        awake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(awake, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        preheat_client.send_frame(self._control, b"S", json.dumps(findings).encode())
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if awake in ready:
                os.read(awake, 4096)
                self._reap()
            if self._control.fileno() not in ready:
                continue
            data, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_MAX, 1)
            if not data:
                raise preheat_client.ChannelClosed
            pid, init = self._namespaces.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, before)
                for fd in (awake, waker):
                    os.close(fd)
                self._control.close()
                return self._become(json.loads(data), socket.socket(fileno=fds[0]))
            os.close(fds[0])
            self._inits[pid] = init
            preheat_client.send_frame(self._control, b"F", _FORKED.pack(pid, init))

    def _reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._inits:  # a namespace's init
                continue
            init = self._inits.pop(pid)
            if init:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(init, signal.SIGKILL)  # and with it whatever the environment left running
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            preheat_client.send_frame(self._control, b"E", _ENDED.pack(pid, code))

    def _become(self, place, orders_socket):
        """In the child: a spare until its orders come, then one environment of its own."""
        os.setsid()
        own_tmp = preheat_isolation.own_namespaces(self._namespaces.active) and preheat_isolation.mount_tmp(
            place["tmp"], place["keep"]
        )
        if not own_tmp:
            os.environ["TMPDIR"] = place["tmp"]
        _refresh_randomness()
        _warm_up()
        data, fds, _, _ = socket.recv_fds(orders_socket, _MESSAGE_MAX, 2)
        if not data:
            os._exit(0)
        started_ns = time.monotonic_ns()
        orders_socket.close()
        for target in (1, 2, self._telemetry_fd):
            os.dup2(fds[0], target)
        os.close(fds[0])
        os.environ.update(json.loads(data))
        if len(fds) > 1:
            return preheat_client.SocketClient(socket.socket(fileno=fds[1]), started_ns, started_ns, own_tmp)
        return _http_client()


class _Nobody:
    """A client for one invocation that nobody asked for."""

    def __init__(self):
        from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

        self.marshaller = LambdaMarshaller()

    def post_invocation_result(self, *_):
        pass


def _warm_up():
    """Walk the runtime's own path once, without the function: the first writes to pages shared with the
    template are paid for now, by a spare, and not by the request."""
    from awslambdaric import bootstrap

    event, arn = b'{"headers": {"a": "b"}, "body": "{}"}', "arn:aws:lambda:us-east-1:000000000000:function:x"
    arguments = ("x", event, "application/json", None, None, arn, int(time.time() * 1000) + 1000)
    accepted = bootstrap.handle_event_request.__code__.co_varnames[
        : bootstrap.handle_event_request.__code__.co_argcount
    ]
    optional = {"tenant_id": None, "log_sink": None}
    named = {name: value for name, value in optional.items() if name in accepted}
    bootstrap.handle_event_request(_Nobody(), lambda event, context: event, *arguments, **named)
    preheat_client.PeakMemory().kib()


def _refresh_randomness():
    """`random` reseeds itself after a fork (os.register_at_fork), OpenSSL by the pid; numpy must be told.

    A generator that user code made for itself repeats in every environment, as it does on AWS.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _http_client():
    """AWS's own client: its native part reads AWS_LAMBDA_RUNTIME_API once, so it is loaded only now."""
    del sys.modules["runtime_client"]
    import runtime_client
    from awslambdaric import lambda_runtime_client

    runtime_client.initialize_client(lambda_runtime_client._user_agent())
    lambda_runtime_client.runtime_client = runtime_client
    return lambda_runtime_client.LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
