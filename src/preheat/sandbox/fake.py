"""The `fake` sandbox: a thread of this process, for tests of what lies above sandboxes.

It starts in well under a millisecond and speaks the same frames as the real thing, through the same
client. What it is not: a process. `os._exit` in a handler ends the whole program, a killed handler's
thread runs on until it returns (nobody hears of it), print() goes to this process's stdout (a handler
logs with `context.log`), memory is not measured, and only the socket transport works.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from preheat.guest import preheat_client
from preheat.sandbox.protocol import Launch, OnExit


class FakeFactory:
    name = "fake"

    def create(self, environment: str) -> FakeSandbox:
        return FakeSandbox()

    def limits(self) -> list[str]:
        return ["nothing is isolated or limited: functions run as threads of this process"]

    def reap(self) -> int:
        return 0

    def close(self) -> None:
        pass


class FakeContext:
    """What a handler gets as its context here: the request's id, and `log`."""

    def __init__(self, request_id: str, output_fd: int) -> None:
        self.aws_request_id = request_id
        self._output_fd = output_fd

    def log(self, message: str) -> None:
        os.write(self._output_fd, message.encode())


class FakeSandbox:
    origin = "init"
    output_pipe: str | None = ""
    refusal = ""

    def __init__(self) -> None:
        self.tmp = Path(tempfile.mkdtemp(prefix="preheat-fake-"))
        self._runtime: _Runtime | None = None

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        if launch.channel_fd is None:
            raise OSError("the fake sandbox has no HTTP client: use the socket transport")
        self._runtime = _Runtime(launch, launch.channel_fd, on_exit)

    def kill(self) -> None:
        if self._runtime is not None:
            self._runtime.end(-9)
            self._runtime = None

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def limit_cpu(self, share: float | None) -> None:
        pass

    def freeze(self) -> None:
        pass

    def thaw(self) -> None:
        pass

    def peak_memory_mb(self) -> int:
        return 0

    def out_of_memory(self) -> bool:
        return False


class _Runtime:
    """One launch: a thread that loads the handler and serves until its channel closes."""

    def __init__(self, launch: Launch, channel_fd: int, on_exit: OnExit) -> None:
        self._launch = launch
        self._channel = socket.socket(fileno=os.dup(channel_fd))
        self._output_fd = os.dup(launch.output_fd)
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._ended = False
        threading.Thread(target=self._run, name="preheat-fake", daemon=True).start()

    def end(self, code: int) -> None:
        """In the event loop: report the exit once, and give the channel up."""
        if self._ended:
            return
        self._ended = True
        self._channel.shutdown(socket.SHUT_RDWR)
        self._on_exit(code)

    def _run(self) -> None:
        code = 0
        try:
            self._serve()
        except SystemExit as wanted:
            code = wanted.code if isinstance(wanted.code, int) else int(wanted.code is not None)
        except preheat_client.ChannelClosed:
            pass
        except OSError:
            code = 1
        os.close(self._output_fd)
        try:
            self._loop.call_soon_threadsafe(self.end, code)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            self._channel.close()

    def _serve(self) -> None:
        now_ns = time.monotonic_ns()
        client: Any = preheat_client.SocketClient(self._channel, now_ns, now_ns, False, self._output_fd)  # type: ignore[no-untyped-call]
        try:
            handler = _load(Path(self._launch.code_dir), self._launch.handler)
        except Exception as error:
            client.post_init_error(_error(error, ""))
            raise SystemExit(1) from None
        while True:
            request = client.wait_next_invocation()
            try:
                event = json.loads(request.event_body)
                result = json.dumps(handler(event, FakeContext(request.invoke_id, self._output_fd)))
            except Exception as error:
                client.post_invocation_error(request.invoke_id, json.dumps(_error(error, request.invoke_id)), "")
            else:
                client.post_invocation_result(request.invoke_id, result)


def _load(code_dir: Path, handler: str) -> Any:
    module_name, _, function = handler.rpartition(".")
    path = code_dir / f"{module_name.replace('.', '/')}.py"
    spec = importlib.util.spec_from_file_location(f"preheat_fake_{module_name}_{time.monotonic_ns()}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def _error(error: Exception, request_id: str) -> dict[str, Any]:
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }
