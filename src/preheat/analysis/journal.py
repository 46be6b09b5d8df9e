"""The local cloud's journal as values: the kernel's records, one JSON object per line."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from preheat.kernel.events import (
    RECORD_TYPES,
    EnvironmentStarted,
    EnvironmentStopped,
    InitDone,
    InvocationDone,
    Record,
    Restored,
    Throttled,
)


class Invocation(msgspec.Struct, frozen=True, gc=False):
    """What the analysis needs of the kernel's `InvocationDone`: of a million records the rest would be a third of a
    gigabyte."""

    at_ms: float
    request_id: str
    gateway_request_id: str | None
    environment: str
    cold: bool
    wait_ms: float
    init_ms: float | None
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    status: str
    error_type: str | None
    init_type: str = "on-demand"
    restore_ms: float | None = None


@dataclass(slots=True)
class Journal:
    """The records of a run by kind, in the order written. `bad_lines` could not be read."""

    started: list[EnvironmentStarted] = field(default_factory=list)
    inits: list[InitDone] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    throttles: list[Throttled] = field(default_factory=list)
    stopped: list[EnvironmentStopped] = field(default_factory=list)
    bad_lines: int = 0

    def extend(self, other: Journal) -> None:
        """Add another journal's records, those of a further run."""
        for kind in ("started", "inits", "restored", "invocations", "throttles", "stopped"):
            getattr(self, kind).extend(getattr(other, kind))
        self.bad_lines += other.bad_lines


class _Kind(msgspec.Struct, gc=False):
    type: str


_kind = msgspec.json.Decoder(_Kind)
_decoders: dict[str, msgspec.json.Decoder[Record]] = {
    name: msgspec.json.Decoder(kind) for kind, name in RECORD_TYPES.items() if kind is not InvocationDone
}
_invocation = msgspec.json.Decoder(Invocation)
_INVOCATION = RECORD_TYPES[InvocationDone]
_USUAL = f'{{"type":"{_INVOCATION}",'.encode()
"""How our own server begins nearly every line: its kind need not be looked for."""


def parse_journal(data: bytes | Iterable[bytes]) -> Journal:
    """Read every line (of bytes, or of a file opened for them) that can be read; kinds we do not know are passed over:
    newer servers may write them."""
    journal = Journal()
    for line in io.BytesIO(data) if isinstance(data, bytes) else data:
        if not line.strip():
            continue
        try:
            kind = _INVOCATION if line.startswith(_USUAL) else _kind.decode(line).type
            decoder = _decoders.get(kind)
            if kind == _INVOCATION:
                journal.invocations.append(_invocation.decode(line))
            elif decoder is None:
                msgspec.json.decode(line)  # of a kind we do not know, or broken
            else:
                _file(journal, decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            journal.bad_lines += 1
    return journal


def _file(journal: Journal, record: Record) -> None:
    match record:
        case EnvironmentStarted():
            journal.started.append(record)
        case InitDone():
            journal.inits.append(record)
        case Restored():
            journal.restored.append(record)
        case Throttled():
            journal.throttles.append(record)
        case EnvironmentStopped():
            journal.stopped.append(record)
