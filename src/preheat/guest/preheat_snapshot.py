"""The template of a SnapStart function: a runtime held at its restore point, forked for each environment.

AWS's bootstrap runs init and the before-snapshot hooks, then calls `restore_next()` on its client. Here
that call never returns in the template: it serves fork requests, and returns in each child, which then
runs the after-restore hooks and asks for work like any other environment (ARCHITECTURE.md, decision 3).

Control socket, frames as in preheat_client: to the server H (a hosted template has begun), S (snapshot taken;
JSON), X (init error), F (forked: pid and the pid of its namespace's init or 0), E (a child has ended: pid,
status); from it the wish for a child (JSON: its /tmp, whether that is a new one, and what must stay reachable below it)
with a socket, on which the child waits for its orders (JSON: its variables; its output and its channel as descriptors).

A template in a container is hosted: `sandbox/fork_host.py` has it forked, once, and goes on forking that.
The wish for it is {"hosted": true} and its socket the gate, on which every child asks for its orders.
"""

import array
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
import preheat_files
import preheat_isolation
import preheat_threads

_FORKED = struct.Struct("!II")
_ENDED = struct.Struct("!Ii")
_MESSAGE_MAX = 262_144
_FDS_MAX = 2
_MT19937_WORDS = 624


def run(handler, control_fd, telemetry_fd, own_tmp):
    """Load the handler, hold at the restore point, serve forks; never returns in the template. `own_tmp`: whether
    /tmp is the template's own."""
    import preheat_watch

    watch = preheat_watch.start(os.environ.get("LAMBDA_TASK_ROOT") or os.getcwd())
    preheat_client.without_native_client()
    from awslambdaric import bootstrap

    control = socket.socket(fileno=control_fd)
    preheat_client.bootstrap_run(bootstrap, handler, TemplateClient(control, telemetry_fd, watch, own_tmp))


def run_hosted(handler, control_fd):
    """The same in a container, whose own bootstrap has come as far as this."""
    telemetry_fd = int(os.environ["_LAMBDA_TELEMETRY_LOG_FD"])
    for fd in (control_fd, telemetry_fd):
        os.set_inheritable(fd, False)
    with socket.socket(fileno=os.dup(control_fd)) as control:
        preheat_client.send_frame(control, b"H", b"")
    run(handler, control_fd, telemetry_fd, True)


class TemplateClient:
    """The runtime client of the template, and after the fork of its children."""

    def __init__(self, control, telemetry_fd, watch, own_tmp):
        from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

        self.marshaller = LambdaMarshaller()
        self._control = control
        self._telemetry_fd = telemetry_fd
        self._watch = watch
        self._own_tmp = own_tmp
        self._client = None

    def post_init_error(self, error_response_data, error_type_override=None):
        body = preheat_client.init_error(error_response_data, error_type_override)
        preheat_client.send_frame(self._control, b"X", body)

    def restore_next(self):
        preheat_threads.settle()
        fork_server = ForkServer(self._control, self._telemetry_fd, preheat_files.Files(self._own_tmp))
        self._client = fork_server.serve(self._watch.findings())

    def report_restore_error(self, restore_error_data):
        self._client.report_restore_error(restore_error_data)

    def wait_next_invocation(self):
        if self._client is None:
            self.restore_next()  # an awslambdaric from before SnapStart, which has no hooks either
        return self._client.wait_next_invocation()

    def post_invocation_result(self, *arguments):
        self._client.post_invocation_result(*arguments)

    def post_invocation_error(self, *arguments):
        self._client.post_invocation_error(*arguments)


class ForkServer:
    def __init__(self, control, telemetry_fd, files):
        self._control = control
        self._telemetry_fd = telemetry_fd
        self._files = files
        self._namespaces = preheat_isolation.PidNamespaces()
        self._inits = {}

    def serve(self, findings):
        """Serve forks for as long as the server lives; returns, in each child, its runtime client."""
        # what is done for the first time here is not done in every child, in copied pages
        _refresh_randomness()
        _warm_up()
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
            data, fds = _receive(self._control, _MESSAGE_MAX)
            if not data:
                raise preheat_client.ChannelClosed
            place, directory = json.loads(data), os.getcwd()
            pid, init = (os.fork(), 0) if "hosted" in place else self._namespaces.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, before)
                for fd in (awake, waker):
                    os.close(fd)
                self._control.close()
                os.setsid()
                if "hosted" in place:
                    _go_back(directory)  # of our own mount namespace: entering it has led to its root
                    return self._become(_called_for(fds[0]), True)
                return self._become(fds, self._own_place(place, directory))
            for fd in fds:
                os.close(fd)
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

    def _own_place(self, place, directory):
        """Whether the child's /tmp is its own."""
        own_tmp = preheat_isolation.own_namespaces(self._namespaces.active)
        if own_tmp:
            tmp = preheat_isolation.own_path(place["tmp"])
            if place["fresh"]:
                self._files.copy_tmp(tmp, place["keep"])
            own_tmp = preheat_isolation.mount_tmp(tmp, place["keep"])
        _go_back(directory)
        if not own_tmp:
            os.environ["TMPDIR"] = place["tmp"]
        return own_tmp

    def _become(self, given, own_tmp):
        """In the child: a spare until its orders come, then one environment of its own.

        `given` are descriptors: where the orders come and, of a spare, what it should copy until then."""
        orders_socket = socket.socket(fileno=given[0])
        self._files.reopen()
        _refresh_randomness()
        _warm_up()
        if len(given) > 1:
            _copy_ahead(given[1])
        data, fds = _receive(orders_socket, _MESSAGE_MAX)
        if not data:
            os._exit(0)
        started_ns = time.monotonic_ns()
        orders_socket.close()
        for target in (1, 2, self._telemetry_fd):
            os.dup2(fds[0], target)
        os.close(fds[0])
        os.environ.update(json.loads(data))
        if len(fds) > 1:
            return preheat_client.SocketClient(
                socket.socket(fileno=fds[1]), started_ns, started_ns, own_tmp, self._telemetry_fd
            )
        return _http_client()


def _go_back(directory):
    """To init's working directory, unless it was one that only the template has."""
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")


def _called_for(gate_fd):
    """What the child is given: asked for on the gate that all of a hosted template's children share."""
    gate, (own, others) = socket.socket(fileno=gate_fd), socket.socketpair()
    with gate, own, others:
        gate.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [others.fileno()]))])
        others.close()
        return _receive(own, 1)[1]


def _receive(end, most_bytes):
    """A message and the descriptors with it; `socket.recv_fds` came with Python 3.9."""
    fds = array.array("i")
    data, ancillary, _, _ = end.recvmsg(most_bytes, socket.CMSG_SPACE(_FDS_MAX * fds.itemsize))
    for _, _, content in ancillary:
        fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
    return data, fds.tolist()


def _copy_ahead(fd):
    """Have the kernel copy now the pages that another environment wrote to in its first request."""
    ranges = os.pread(fd, os.fstat(fd).st_size, 0)  # others read the same open file
    os.close(fd)
    for address, length in struct.iter_unpack("=QQ", ranges):
        preheat_isolation.copy_pages(address, length)


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
    """`random` reseeds itself after a fork (os.register_at_fork); numpy must be told. OpenSSL looks at the pid,
    which in a PID namespace of its own may be the template's: its generator is fed afresh.

    A generator that user code made for itself repeats in every environment, as it does on AWS.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        try:  # the whole state: half of what `seed()` touches
            words = sys.modules["numpy"].frombuffer(os.urandom(_MT19937_WORDS * 4), dtype="uint32")
            numpy_random.set_state(("MT19937", words, _MT19937_WORDS))
        except (TypeError, ValueError):  # user code has put another generator in its place
            numpy_random.seed()
    native_ssl = sys.modules.get("_ssl")
    if native_ssl is not None:
        native_ssl.RAND_add(os.urandom(32), 32.0)


def _http_client():
    """AWS's own client: its native part reads AWS_LAMBDA_RUNTIME_API once, so it is loaded only now."""
    del sys.modules["runtime_client"]
    import runtime_client
    from awslambdaric import lambda_runtime_client

    runtime_client.initialize_client(lambda_runtime_client._user_agent())
    lambda_runtime_client.runtime_client = runtime_client
    return lambda_runtime_client.LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
