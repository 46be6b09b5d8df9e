"""Which memory pages a forked process no longer shares with its template (proc(5), /proc/<pid>/pagemap)."""

from __future__ import annotations

import array
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PRESENT, _OF_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
RANGE = struct.Struct("=QQ")
"""Address and length; `guest/preheat_snapshot.py` reads them."""
_MOST_BYTES = 16 << 20
"""No spare is made to copy more than this ahead of demand."""


def written(pid: int) -> bytes:
    """`RANGE`s of the pages that the process has to itself: those it has written to since it was forked.

    b"" where the kernel does not tell, or the process has ended.
    """
    try:
        return _written(pid)
    except OSError:
        return b""


def _written(pid: int) -> bytes:
    found: list[bytes] = []
    total = 0
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        for begin, end in _writable(pid):
            entries = array.array("Q")
            entries.frombytes(os.pread(pagemap.fileno(), (end - begin) // _PAGE_BYTES * 8, begin // _PAGE_BYTES * 8))
            for first, count in _runs(entries):
                total += count * _PAGE_BYTES
                if total > _MOST_BYTES:
                    return b"".join(found)
                found.append(RANGE.pack(begin + first * _PAGE_BYTES, count * _PAGE_BYTES))
    return b"".join(found)


def _writable(pid: int) -> Iterator[tuple[int, int]]:
    """Private mappings that may be written to."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, rights, *_ = line.split()
        if rights[1] == "w" and rights[3] == "p":
            begin, _, end = addresses.partition("-")
            yield int(begin, 16), int(end, 16)


def _runs(entries: array.array[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of neighbouring pages that are the process's own."""
    first = -1
    for place, entry in enumerate(entries):
        own = entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_FILE
        if own and first < 0:
            first = place
        elif not own and first >= 0:
            yield first, place - first
            first = -1
    if first >= 0:
        yield first, len(entries) - first
