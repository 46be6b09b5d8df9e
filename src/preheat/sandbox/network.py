"""A network for one environment: loopback only, with the Runtime API's listener in it."""

from __future__ import annotations

import os
import socket
import struct
import threading
from dataclasses import dataclass

RUNTIME_API = ("127.0.0.1", 9001)
"""Where AWS_LAMBDA_RUNTIME_API points on AWS."""
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Place:
    """Where one runtime finds its Runtime API. Listener and descriptor are the caller's."""

    listener: socket.socket
    address: str
    """What the runtime is told: host and port."""
    network_fd: int | None = None
    """The network namespace to run the runtime in; None where it takes none."""
    guests: set[str] | None = None
    """Whose requests are taken, by IP address; None: everybody's who can reach the listener."""


def isolated() -> Place:
    """Make a network namespace in which nothing but the listener can be reached. Raises OSError; takes root.

    Namespaces are a thread's own, and a socket stays where it was made: a thread that ends right after is enough.
    """
    made: list[Place] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            made.append(_make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _make() -> Place:
    import ctypes
    import fcntl

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace of its own: {os.strerror(number)}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        fcntl.ioctl(listener, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(RUNTIME_API)
        listener.listen()
        listener.setblocking(False)
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return Place(listener, "{}:{}".format(*RUNTIME_API), own)
    except OSError:
        listener.close()
        raise
