"""Which pages a forked process has written to: asked of a real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, mmap, os, signal
from preheat.sandbox import pages

size = 4096 * 64
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = b"x" * size
begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
told, telling = os.pipe()
pid = os.fork()
if pid == 0:
    for page in (10, 11, 12, 40):
        memory[page * 4096] = 1
    os.write(telling, b"+")
    signal.pause()
os.read(told, 1)
found = [(address - begin, length) for address, length in pages.RANGE.iter_unpack(pages.written(pid))]
print([(place // 4096, length // 4096) for place, length in found if 0 <= place < size])
if {most}:
    pages._MOST_BYTES = {most}
    print(sum(length for _, length in pages.RANGE.iter_unpack(pages.written(pid))) <= {most})
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(pages.written(pid))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pagemap is Linux's")
def test_the_pages_that_a_child_has_written_to_are_found_and_no_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{most}", str(8 * 4096))], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[(10, 3), (40, 1)]", "True", "b''"], done.stderr
