"""How an environment talks to its runtime, whichever transport lies between (socket or HTTP)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import msgspec

from preheat.kernel.stream import ResponseStream


@dataclass(frozen=True, slots=True)
class Ready:
    """The runtime's first request for work. Times are monotonic nanoseconds, where the transport tells."""

    started_ns: int | None = None
    runtime_ready_ns: int | None = None
    own_tmp: bool | None = None


class Work(msgspec.Struct, frozen=True):
    """One invocation as the runtime gets it (headers of /next, FIDELITY.md "Runtime API")."""

    request_id: str
    arn: str
    deadline_ms: int
    trace_id: str
    client_context: str
    event: bytes
    poll_us: int = 0
    """How long we poll, instead of sleeping, for the answer."""
    linger_us: int = 0
    """How long the runtime then polls for the next one."""


class Ahead(Enum):
    """What became of work that was sent ahead, when it was to be taken back."""

    TAKEN = auto()
    """It is ours again: the runtime will never see it."""
    BEGUN = auto()
    """The runtime has it: its answer to the request before is on its way to us, or here already."""
    BEHIND = auto()
    """The runtime has not even read the request before."""


class RuntimeListener(Protocol):
    """What an environment is told by its runtime. `peak_kib` is 0 where the transport cannot tell."""

    def on_ready(self, ready: Ready) -> None: ...

    def on_stream(self, content_type: str) -> ResponseStream | None:
        """The runtime streams its response: where it goes, or None where it is wanted whole. What it was is told
        by `on_response` (empty then) or `on_error` when it ends."""

    def on_response(self, body: bytes, peak_kib: int) -> None: ...

    def on_error(self, body: bytes, peak_kib: int) -> None: ...

    def on_init_error(self, body: bytes) -> None: ...


class Channel(Protocol):
    """One runtime process's line to us; a new one is made for every launch."""

    def child_fd(self) -> int | None:
        """The descriptor to hand to the sandbox, None for HTTP."""

    def network_fd(self) -> int | None:
        """The network namespace in which it can be reached, None for the machine's or where it takes none."""

    def environ(self) -> dict[str, str]:
        """Variables that tell the runtime where to call."""

    def launched(self) -> None:
        """The process has been started: what was for it alone may be given up."""

    def send(self, work: Work) -> None: ...

    def send_ahead(self, work: Work) -> Callable[[], Ahead] | None:
        """Leave work where the runtime finds it when it is done with the present one; returns what takes it back.
        None, and nothing is done, where that cannot be."""

    async def last_words(self) -> None:
        """The process has ended: returns when what it had written before has been heard."""

    def close(self) -> None:
        """Nothing is heard from the runtime after this. No harm in calling it twice."""


class Transport(Protocol):
    """Opens channels of one kind."""

    async def open(self, listener: RuntimeListener) -> Channel: ...
