"""PutLogEvents' rules for a batch (API reference, PutLogEvents). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from preheat.kernel.function import LogEvent
from preheat.services.logs.failures import invalid
from preheat.services.logs.pages import size_bytes
from preheat.services.logs.store import MAX_EVENT_BYTES

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
MAX_BATCH_BYTES = 1_048_576
_TOO_NEW_MS = 2 * _HOUR_MS
_TOO_OLD_MS = 14 * _DAY_MS


def check_batch(events: Sequence[LogEvent]) -> None:
    """Refuse a whole batch that is out of order or too large."""
    times = [timestamp for timestamp, _ in events]
    if times != sorted(times):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    sizes = [size_bytes(message) for _, message in events]
    if max(sizes) > MAX_EVENT_BYTES:
        raise invalid(f"Log event too large: {max(sizes)} bytes exceeds limit of {MAX_EVENT_BYTES}")
    if sum(sizes) > MAX_BATCH_BYTES:
        raise invalid(f"Upload too large: {sum(sizes)} bytes exceeds limit of {MAX_BATCH_BYTES}")


def check_span(accepted: Sequence[LogEvent]) -> None:
    """Refuse a whole batch whose valid events span more than a day."""
    if accepted and accepted[-1][0] - accepted[0][0] > _DAY_MS:
        raise invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")


def split_batch(times_ms: Sequence[int], now_ms: int, retention_days: int | None) -> tuple[slice, dict[str, int]]:
    """(which events to take, rejectedLogEventsInfo) of a batch in order of time.

    Events over two hours ahead, over 14 days old, or past the group's retention are left out; the end
    indexes are exclusive.
    """
    too_old = sum(at < now_ms - _TOO_OLD_MS for at in times_ms)
    expired = 0 if retention_days is None else sum(at < now_ms - retention_days * _DAY_MS for at in times_ms)
    too_new = sum(at > now_ms + _TOO_NEW_MS for at in times_ms)
    rejected: dict[str, int] = {}
    if too_new:
        rejected["tooNewLogEventStartIndex"] = len(times_ms) - too_new
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    return slice(max(too_old, expired), len(times_ms) - too_new), rejected
