"""Cold is a fact, not a threshold: each request is tied by its id to the environment that served it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from preheat.analysis.journal import Journal
from preheat.analysis.requests_csv import ClientRequest
from preheat.kernel.events import InvocationDone, Throttled

WAITED_MS = 1.0
"""A warm request that stood longer than this before an environment took it is "warm_waited". Handing a
request to an idle environment takes well under 0.2 ms here, so 1 ms is a wait and not the way itself."""

_NEVER_CONNECTED = ("ConnectionRefused", "Connection refused", "Failed to establish a new connection")
"""Client errors after which no byte was sent: requests/urllib3 and geventhttpclient name them so."""


class Label(StrEnum):
    """What became of a request; every request has exactly one."""

    COLD = "cold"
    """The first request of its environment, and nothing else."""
    WARM = "warm"
    WARM_WAITED = "warm_waited"
    """Served by an environment that had served before, after waiting for it."""
    THROTTLED = "throttled"
    FAILED_BEFORE_FUNCTION = "failed_before_function"
    FAILED_IN_FUNCTION = "failed_in_function"
    """Reached an environment that had served before, and failed there (error, time-out, crash)."""
    UNMATCHED = "unmatched"
    """There is a journal, but nothing in it bears this request's id (or the request has none)."""
    UNKNOWN = "unknown"
    """There is no journal to ask."""


class LabelledRequest(msgspec.Struct, frozen=True, gc=False):
    request: ClientRequest
    label: Label
    invocation: InvocationDone | None = None
    """The journal's record of it, where one was found."""

    @property
    def waited(self) -> bool:
        """Whether it stood before the function, be it for its own cold start or for a busy environment."""
        return self.invocation is not None and self.invocation.wait_ms > WAITED_MS


@dataclass(frozen=True, slots=True)
class Accounting:
    """Every environment started in the run must be explained: `cold + never_served + cold_from_others == started`."""

    started: int
    cold: int
    never_served: int
    cold_from_others: int
    """First requests that no row of requests.csv claims: another caller's, or one whose answer was lost."""

    @property
    def ok(self) -> bool:
        return self.cold + self.never_served + self.cold_from_others == self.started


def label_requests(requests: Sequence[ClientRequest], journal: Journal | None) -> list[LabelledRequest]:
    """Join by request id: the id of the client's answer is API Gateway's (`gateway_request_id`), or Lambda's own
    where the function was invoked directly. Exact wherever both sides have the id."""
    if journal is None:
        return [LabelledRequest(request, Label.UNKNOWN) for request in requests]
    records: dict[str, InvocationDone | Throttled] = {}
    known: list[InvocationDone | Throttled] = [*journal.throttles, *journal.invocations]
    for record in known:
        records[record.request_id] = record
        if record.gateway_request_id:
            records[record.gateway_request_id] = record
    labelled = []
    for request in requests:
        record_of_it = records.get(request.request_id) if request.request_id else None
        invocation = record_of_it if isinstance(record_of_it, InvocationDone) else None
        labelled.append(LabelledRequest(request, label_of(request, record_of_it), invocation))
    return labelled


def label_of(request: ClientRequest, record: InvocationDone | Throttled | None) -> Label:
    """The label of one request of a run that has a journal."""
    if isinstance(record, InvocationDone):
        if record.cold:
            return Label.COLD
        if record.status != "ok":
            return Label.FAILED_IN_FUNCTION
        return Label.WARM_WAITED if record.wait_ms > WAITED_MS else Label.WARM
    if record is not None or request.status == 429:
        return Label.THROTTLED
    if request.status == 0 and any(mark in request.error for mark in _NEVER_CONNECTED):
        return Label.FAILED_BEFORE_FUNCTION
    # Whatever reaches a function leaves a record under the answer's id, so a refusal without one never did.
    # A 5xx may be the gateway's time-out with the function still at work: that stays unmatched.
    if request.request_id and 400 <= request.status < 500:
        return Label.FAILED_BEFORE_FUNCTION
    return Label.UNMATCHED


def account(labelled: Iterable[LabelledRequest], journal: Journal) -> Accounting:
    """Count the environments started in the run against their first requests."""
    started = {record.environment for record in journal.started}
    served = {record.environment for record in journal.invocations}
    matched = [item for item in labelled if item.invocation is not None]
    ours = {item.invocation.request_id for item in matched if item.invocation is not None}
    others = sum(record.cold and record.request_id not in ours for record in journal.invocations)
    cold = sum(item.label is Label.COLD for item in matched)
    return Accounting(len(started), cold, len(started - served), others)
