"""Finding and stopping a server through its note, which may be stale, torn or another's."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.cli import control
from preheat.cli.control import Running
from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings

PID = 4711


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"pid": PID} if self.path == "/_preheat/health" else {}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def note(directory: Path, pid: object, url: str) -> None:
    (directory / "server.json").write_text(json.dumps({"pid": pid, "endpoint_url": url}))


def test_a_server_that_answers_with_its_own_pid_is_found(tmp_path: Path, url: str) -> None:
    note(tmp_path, PID, url)
    assert control.find(tmp_path) == Running(PID, url, tmp_path)


def test_another_process_on_the_same_port_is_not_ours(tmp_path: Path, url: str) -> None:
    note(tmp_path, PID + 1, url)
    assert control.find(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "endpoint_url": "y"}', '{"pid": 1}'])
def test_a_torn_note_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert control.find(tmp_path) is None


def test_nobody_listening_is_no_server(tmp_path: Path) -> None:
    note(tmp_path, PID, "http://127.0.0.1:9")
    assert control.find(tmp_path) is None
    assert control.find(tmp_path / "nothing") is None


def test_starting_twice_is_refused_with_the_address(tmp_path: Path, url: str) -> None:
    note(tmp_path, PID, url)
    with pytest.raises(PreheatError, match=f"^already up: {url}") as refused:
        control.start_detached(Settings(data_dir=tmp_path))
    assert refused.value.exit_code == 255


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PreheatError, match=r"^cannot listen on 999\.9\.9\.9:"):
        control.start_detached(Settings(data_dir=tmp_path, host="999.9.9.9"))


def test_stop_waits_for_the_end_and_forgives_a_dead_one(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready', flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    running = Running(process.pid, "", tmp_path)
    assert control.alive(process.pid)
    control.stop(running)
    assert not control.alive(process.pid)
    control.stop(running)
    process.stdout.close()
    process.poll()


def test_what_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_STOP_LIMIT_S", 0.2)
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    control.stop(Running(process.pid, "", tmp_path))
    process.communicate(timeout=10)
    assert not control.alive(process.pid)
