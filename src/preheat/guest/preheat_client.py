"""A runtime client for AWS's own bootstrap that speaks over a Unix socket instead of HTTP.

`awslambdaric.bootstrap.run(handler, client)` takes its client as an argument: handler loading,
marshalling, logging and errors stay AWS's code, libcurl's HTTP goes. Frames, big-endian: length (4 bytes,
of what follows the kind), kind (1 byte), payload. `execution.socket_channel` is the other end.

  to us      I  invoke      how long to poll for the next one after it, in us (4), deadline in epoch ms (8),
                            length of meta (4), meta, event
                            meta: request id, function ARN, trace id, client context, joined by NUL
             A  ahead       the same, sent while we serve another request. Until we read it the server may take
                            it back, so never more than one frame is read at a time
  from us    N  first next  our start and the runtime's readiness, monotonic ns (8 + 8), own /tmp (1)
             R  response    peak memory in KiB (4), 1 if JSON (1), body
             E  error       peak memory in KiB (4), 1 (1), body
             X  init error  body
"""

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
import types

_HEAD = struct.Struct("!IB")
_INVOKE = struct.Struct("!IQI")
_READY = struct.Struct("!QQB")
_ANSWER = struct.Struct("!IBIB")
_MARK = struct.Struct("!IIQ")
_MARK_TYPE = 0xA55A00FF
_MAX_RESPONSE_BYTES = 6291556
_CHUNK_BYTES = 262144
_PEAK_EVERY_NS = 1000000


def run(handler, channel_fd, started_ns, own_tmp):
    """Load the handler and serve until the channel closes; never returns."""
    without_native_client()
    from awslambdaric import bootstrap

    channel = socket.socket(fileno=channel_fd)
    log_fd = int(os.environ["_LAMBDA_TELEMETRY_LOG_FD"])
    bootstrap_run(bootstrap, handler, SocketClient(channel, started_ns, time.monotonic_ns(), own_tmp, log_fd))


def without_native_client():
    """awslambdaric's native client would open libcurl and poll an address we do not use."""
    native = types.ModuleType("runtime_client")
    native.initialize_client = lambda user_agent: None
    sys.modules["runtime_client"] = native


def bootstrap_run(bootstrap, handler, client):
    """Hand over to AWS's bootstrap; never returns.

    It takes its client as an argument since awslambdaric 3; the last version for Python 3.8 makes one itself.
    """
    try:
        if bootstrap.run.__code__.co_argcount == 2:
            bootstrap.run(handler, client)
        else:
            bootstrap.LambdaRuntimeClient = lambda *_: client
            bootstrap.run(os.environ["LAMBDA_TASK_ROOT"], handler, "")
    except ChannelClosed:
        os._exit(0)


def send_frame(channel, kind, payload):
    channel.sendall(_HEAD.pack(len(payload), kind[0]) + payload)


def init_error(data, error_type_override=None):
    if error_type_override:
        data = dict(data, errorType=error_type_override)
    return json.dumps(data).encode("utf-8")


class ChannelClosed(BaseException):
    """The server has gone, or has given this runtime up: nobody is left to answer."""


class Request:
    """The attributes that bootstrap reads of an invocation (awslambdaric's InvocationRequest)."""

    content_type = "application/json"
    cognito_identity = None
    tenant_id = None
    invocation_id = None

    def __init__(self, invoke_id, arn, trace_id, client_context, deadline_ms, body):
        self.invoke_id = invoke_id
        self.invoked_function_arn = arn
        self.x_amzn_trace_id = trace_id or None
        self.client_context = client_context or None
        self.deadline_time_in_ms = deadline_ms
        self.event_body = body


class SocketClient:
    """The methods that bootstrap calls of a runtime client (awslambdaric's LambdaRuntimeClient)."""

    def __init__(self, channel, started_ns, runtime_ready_ns, own_tmp, log_fd):
        from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

        self.marshaller = LambdaMarshaller()
        self._channel = channel
        self._log_fd = log_fd
        self._ahead = 0
        self._ready = _READY.pack(started_ns, runtime_ready_ns, own_tmp)
        self._announced = False
        self._linger_us = 0
        self._peak = PeakMemory()

    def wait_next_invocation(self):
        if not self._announced:
            self._announced = True
            send_frame(self._channel, b"N", self._ready)
        while True:
            kind, payload = self._receive()
            if kind == b"A":
                self._mark_log()
                break
            if kind == b"I":
                break
        self._linger_us, deadline_ms, size = _INVOKE.unpack_from(payload)
        meta_end = _INVOKE.size + size
        meta = payload[_INVOKE.size : meta_end].decode("utf-8").split("\0")
        return Request(meta[0], meta[1], meta[2], meta[3], deadline_ms, payload[meta_end:])

    def post_invocation_result(self, invoke_id, result_data, content_type="application/json", *_):
        data = result_data if isinstance(result_data, bytes) else result_data.encode("utf-8")
        self._answer(b"R", data, content_type == "application/json")

    def post_invocation_error(self, invoke_id, error_response_data, xray_fault, *_):
        self._answer(b"E", error_response_data.encode("utf-8"), True)

    def post_init_error(self, error_response_data, error_type_override=None):
        send_frame(self._channel, b"X", init_error(error_response_data, error_type_override))

    def report_restore_error(self, restore_error_data):
        send_frame(self._channel, b"X", init_error(restore_error_data, "Runtime.AfterRestoreError"))

    def _answer(self, kind, data, is_json):
        head = _ANSWER.pack(len(data) + 5, kind[0], self._peak.kib(), is_json)
        if len(data) < 65536:
            self._channel.sendall(head + data)
        else:
            self._channel.sendall(head)
            self._channel.sendall(data)
        while len(data) > _MAX_RESPONSE_BYTES:
            signal.pause()  # the server ends this runtime for it: no other request may begin here

    def _mark_log(self):
        """The server reads our last answer later than we write the next request's output: say where that begins."""
        self._ahead += 1
        with contextlib.suppress(OSError):  # the handler may have closed the log
            os.write(self._log_fd, _MARK.pack(_MARK_TYPE, 0, self._ahead))

    def _receive(self):
        channel = self._channel
        while True:
            head = self._wait()
            if not head:
                raise ChannelClosed
            try:
                size, _ = _HEAD.unpack(head)
                data = channel.recv(min(_HEAD.size + size, _CHUNK_BYTES), socket.MSG_DONTWAIT)
                break
            except BlockingIOError:
                pass  # the server has taken it back
        size, kind = _HEAD.unpack_from(data)  # of what was read: another frame may have come in its place
        missing = _HEAD.size + size - len(data)
        if missing > 0:
            parts = [data]
            while missing > 0:
                parts.append(channel.recv(min(missing, _CHUNK_BYTES)))
                if not parts[-1]:
                    raise ChannelClosed
                missing -= len(parts[-1])
            data = b"".join(parts)
        return bytes((kind,)), data[_HEAD.size :]

    def _wait(self):
        """The next frame's head, left where it is. Poll for a moment where the server says that it pays, then
        sleep until there is something."""
        if self._linger_us:
            end_ns = time.monotonic_ns() + self._linger_us * 1000
            while time.monotonic_ns() < end_ns:
                try:
                    return self._channel.recv(_HEAD.size, socket.MSG_DONTWAIT | socket.MSG_PEEK)
                except BlockingIOError:
                    pass
        return self._channel.recv(_HEAD.size, socket.MSG_PEEK)


class PeakMemory:
    """This process's peak resident memory, from /proc (VmHWM; ru_maxrss starts at the parent's).

    Reading it costs about 7 us, and it can only have grown if pages were faulted in since the last time; asking
    for that costs as much where threads are many, and within a millisecond no more than a few MB can be.
    """

    def __init__(self):
        try:
            self._fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        self._faults = -1
        self._kib = 0
        self._valid_until_ns = 0

    def kib(self):
        now_ns = time.monotonic_ns()
        if now_ns < self._valid_until_ns:
            return self._kib
        self._valid_until_ns = now_ns + _PEAK_EVERY_NS
        usage = resource.getrusage(resource.RUSAGE_SELF)
        faults = usage.ru_minflt + usage.ru_majflt
        if faults != self._faults:
            self._faults = faults
            if self._fd >= 0:
                text = os.pread(self._fd, 8192, 0)
                start = text.find(b"VmHWM:") + 6
                self._kib = int(text[start : text.index(b"kB", start)])
            else:
                self._kib = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
        return self._kib
