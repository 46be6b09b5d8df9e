"""Threads below Python: which of them a snapshot carries over, and the line that is named for those it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import preheat

GUEST = Path(preheat.__file__).parent / "guest"
OPENMP = next(path for path in Path(str(find_spec("sklearn").origin)).parents[1].glob("scikit_learn.libs/libgomp*"))  # type: ignore[union-attr]
NATIVE = """
import ctypes

libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, libc.pause, None)
answer = 42
"""
PROGRAM = """
import json, runpy, sys
sys.path.insert(0, {guest!r})
import preheat_threads, preheat_watch
watch = preheat_watch.start({root!r})
app = runpy.run_path({root!r} + "/app.py")
preheat_threads.settle()
print(json.dumps(watch.findings()))
"""
TEAM = """
import ctypes, os, signal, sys
sys.path.insert(0, {guest!r})
import preheat_threads
openmp, libc = ctypes.CDLL({openmp!r}), ctypes.CDLL(None)
def team():
    openmp.GOMP_parallel(libc.getpid, None, 3, 0)
    return len(preheat_threads.alive())
assert team() == 3
{settle}
child = os.fork()
if child == 0:
    signal.alarm({limit_s})
    os._exit(team())
print(os.waitpid(child, 0)[1])
"""


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def findings(root: Path, source: str) -> list[dict[str, Any]]:
    (root / "app.py").write_text(source)
    found: list[dict[str, Any]] = json.loads(run(PROGRAM.format(guest=str(GUEST), root=str(root))))
    return found


def test_openmps_threads_are_ended_and_come_again() -> None:
    told = {"guest": str(GUEST), "openmp": str(OPENMP)}
    assert int(run(TEAM.format(settle="preheat_threads.settle()", limit_s=60, **told))) >> 8 == 3
    assert int(run(TEAM.format(settle="", limit_s=1, **told))) == 14, "it hung, until SIGALRM: what settling is for"


def test_a_native_thread_is_named_with_its_line_where_python_tells_lines(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, NATIVE)
    assert found["kind"] == "native thread"
    assert found["where"] == ("app.py:5" if sys.version_info >= (3, 12) else "app.py:1 or a later line")
    assert "(alive: 1)" in found["text"]


def test_a_native_thread_lies_between_two_imports(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, f"import colorsys\n{NATIVE}import wave\n")
    assert found["where"] == ("app.py:6" if sys.version_info >= (3, 12) else "app.py:1-8")


def test_python_threads_and_those_that_have_ended_are_no_native_ones(tmp_path: Path) -> None:
    source = "import threading, time\nthread = threading.Thread(target=time.sleep, args=({},), daemon=True, name='x')\n"
    (found,) = findings(tmp_path, source.format(600) + "thread.start()\n")
    assert (found["kind"], found["where"]) == ("thread", "app.py:3")
    assert "(alive: x)" in found["text"]
    assert findings(tmp_path, source.format(0) + "thread.start()\nthread.join()\n") == []


def test_sockets_are_seen_however_they_are_used(tmp_path: Path) -> None:
    source = "import socket\none = socket.socket(type=socket.SOCK_DGRAM)\none.sendto(b'', ('127.0.0.1', 9))\n"
    (found,) = findings(tmp_path, source)
    assert (found["kind"], found["where"]) == ("connection", "app.py:3")
    (found,) = findings(tmp_path, "import socket\none = socket.create_server(('127.0.0.1', 0))\n")
    assert (found["kind"], found["where"]) == ("address", "app.py:2")
    assert findings(tmp_path, "import socket\none = socket.create_server(('127.0.0.1', 0))\none.close()\n") == []


def test_an_event_loop_is_seen_unless_it_was_closed(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, "import asyncio\n\nloop = asyncio.new_event_loop()\n")
    assert (found["kind"], found["where"]) == ("loop", "app.py:3")
    assert findings(tmp_path, "import asyncio\nasyncio.run(asyncio.sleep(0))\n") == []
