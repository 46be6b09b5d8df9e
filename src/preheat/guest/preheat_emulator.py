"""Lambda's runtime interface emulator, for an image that is run by itself: `docker run -p 8080:8080 image`.

Stands in the images that preheat makes where AWS's `aws-lambda-rie` stands in AWS's. Serves POST
/2015-03-31/functions/function/invocations on port 8080 and the Runtime API to one runtime process; requests
that come while it is busy wait their turn. Python 3.8 and the standard library only: the image's own interpreter
runs it.
"""

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid

_PORT = 8080
_RUNTIME_ADDRESS = "127.0.0.1:9001"
_INVOKE = "/2015-03-31/functions/function/invocations"
_RUNTIME = "/2018-06-01/runtime"


class Invocation:
    """One request: `answer` is (status, body, function error) once `done` is set."""

    def __init__(self, payload, timeout_s):
        self.id = str(uuid.uuid4())
        self.payload = payload
        self.deadline_ms = int((time.time() + timeout_s) * 1000)
        self.answer = None
        self.done = threading.Event()

    def finish(self, body, function_error=""):
        if self.answer is None:
            self.answer = (body, function_error)
            self.done.set()


class Emulator:
    """One runtime process and the invocation it works on; `_turn` lets one request in at a time."""

    def __init__(self, command, timeout_s):
        self._command = command
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._process = None
        self._waiting = queue.Queue()
        self._started = 0.0
        self.ready = threading.Event()
        self.current = None
        self.init_error = None

    def invoke(self, payload):
        """(body, function error) of one invocation."""
        with self._turn:
            init_ms = self._start()
            invocation = self.current = Invocation(payload, self._timeout_s)
            self._say("START RequestId: %s Version: $LATEST" % invocation.id)
            began = time.monotonic()
            self._waiting.put(invocation)
            if not self._wait(invocation):
                message = "%s Task timed out after %.2f seconds" % (invocation.id, self._timeout_s)
                invocation.finish(_error("Sandbox.Timedout", "RequestId: " + message), "Unhandled")
                self.stop()
            duration_ms = (time.monotonic() - began) * 1000
            self._say("END RequestId: %s" % invocation.id)
            self._say(_report(invocation.id, init_ms, duration_ms))
            self.current = None
            return invocation.answer

    def next(self):
        """The invocation that the runtime shall work on; waits for one."""
        self.ready.set()
        return self._waiting.get()

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self):
        """Start the runtime where none is running; the time its init took, None where it was there."""
        if self._process is not None and self._process.poll() is None:
            return None
        self.ready.clear()
        self.init_error = None
        self._waiting = queue.Queue()
        began = time.monotonic()
        environment = {"AWS_LAMBDA_FUNCTION_NAME": "test_function", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008"}
        environment.update({"AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_REGION": "us-east-1"})
        environment.update(os.environ)
        environment["AWS_LAMBDA_RUNTIME_API"] = _RUNTIME_ADDRESS
        self._process = subprocess.Popen(self._command, env=environment)
        while not self.ready.wait(0.02) and self._process.poll() is None:
            pass
        return (time.monotonic() - began) * 1000

    def _wait(self, invocation):
        """Wait for the answer; False where time ran out. A runtime that exits has answered, too."""
        deadline = time.monotonic() + self._timeout_s
        while not invocation.done.wait(0.02):
            code = self._process.poll()
            if code is not None and not invocation.done.wait(0.2):
                reason = "exit status %d" % code if code > 0 else "signal %d" % -code
                text = "RequestId: %s Error: Runtime exited" % invocation.id
                text += " with error: " + reason if code else " without providing a reason"
                invocation.finish(self.init_error or _error("Runtime.ExitError", text), "Unhandled")
                return True
            if time.monotonic() > deadline:
                return False
        return True

    def _say(self, line):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in one packet: two would wait for each other (Nagle, delayed ACK), 40 ms a time
    disable_nagle_algorithm = True
    emulator = None

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = []
            while True:
                size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
                if not size:
                    return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, format, *args):
        pass


class InvokeHandler(_Handler):
    """What a client talks to."""

    def do_POST(self):
        payload = self.body()
        if self.path != _INVOKE:
            self.reply(404, b"404 page not found\n")
            return
        body, function_error = self.emulator.invoke(payload)
        self.reply(200, body, [("X-Amz-Function-Error", function_error)] if function_error else [])


class RuntimeHandler(_Handler):
    """The Runtime API (docs.aws.amazon.com/lambda: "Using the Lambda runtime API")."""

    def do_GET(self):
        if self.path != _RUNTIME + "/invocation/next":
            self.reply(404)
            return
        invocation = self.emulator.next()
        arn = "arn:aws:lambda:us-east-1:012345678912:function:test_function"
        headers = [("Lambda-Runtime-Aws-Request-Id", invocation.id), ("Lambda-Runtime-Invoked-Function-Arn", arn)]
        headers.append(("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)))
        headers.append(
            ("Lambda-Runtime-Trace-Id", "Root=1-%08x-%s;Sampled=0" % (int(time.time()), uuid.uuid4().hex[:24]))
        )
        self.reply(200, invocation.payload, headers)

    def do_POST(self):
        body, parts = self.body(), self.path.split("/")
        current = self.emulator.current
        if self.path == _RUNTIME + "/init/error":
            self.emulator.init_error = body
        elif len(parts) == 6 and current is not None and parts[4] == current.id:
            current.finish(body, "Unhandled" if parts[5] == "error" else "")
        else:
            self.reply(400, _error("InvalidRequestID", "Invalid request ID"))
            return
        self.reply(202, b'{"status":"OK"}\n')


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


def main(arguments):
    if not arguments:
        sys.exit("usage: aws-lambda-rie COMMAND [ARGUMENT...]")
    emulator = Emulator(arguments, float(os.environ.get("AWS_LAMBDA_FUNCTION_TIMEOUT") or 300))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 of a container it has no default
    InvokeHandler.emulator = RuntimeHandler.emulator = emulator
    host, port = _RUNTIME_ADDRESS.split(":")
    runtime = _Server((host, int(port)), RuntimeHandler)
    threading.Thread(target=runtime.serve_forever, daemon=True).start()
    try:
        _Server(("0.0.0.0", _PORT), InvokeHandler).serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        emulator.stop()


def _error(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


def _report(request_id, init_ms, duration_ms):
    parts = ["REPORT RequestId: %s" % request_id]
    if init_ms is not None:
        parts.append("Init Duration: %.2f ms" % init_ms)
    parts.append("Duration: %.2f ms" % duration_ms)
    parts.append("Billed Duration: %d ms" % -(-duration_ms // 1))
    return "\t".join([*parts, "Memory Size: 3008 MB", "Max Memory Used: 3008 MB", ""])


if __name__ == "__main__":
    main(sys.argv[1:])
