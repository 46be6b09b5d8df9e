"""Cold is a fact, not a threshold: each request is tied to the environment that served it, by its id where there is
one, else by time; where there is only the response time, two populations must show before a word is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from preheat.analysis.journal import Invocation, Journal
from preheat.analysis.requests_csv import ClientRequest
from preheat.kernel.events import Throttled

WAITED_MS = 1.0
"""A warm request that stood longer than this before an environment took it is "warm_waited". Handing a
request to an idle environment takes well under 0.2 ms here, so 1 ms is a wait and not the way itself."""

_NEVER_CONNECTED = ("ConnectionRefused", "Connection refused", "Failed to establish a new connection")
"""Client errors after which no byte was sent: requests/urllib3 and geventhttpclient name them so."""

REFUSED = frozenset({401, 403, 404, 405, 413, 414, 415})
"""What API Gateway answers itself (a missing path or key, a wrong method, too large a body). A function may answer so
too; without ids that cannot be told, and such a request says nothing about cold starts."""


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
    """There is a journal or a log, but nothing in it belongs to this request."""
    UNKNOWN = "unknown"
    """The data cannot tell."""


class Method(StrEnum):
    """How a label was obtained, the surest first."""

    REQUEST_ID = "request-id"
    LOG_JOIN = "log-join"
    LATENCY_MODEL = "latency-model"
    NONE = "none"


class LabelledRequest(msgspec.Struct, frozen=True, gc=False):
    request: ClientRequest
    label: Label
    invocation: Invocation | None = None
    """The journal's record of it, where one was found."""
    report: int = -1
    """The number of its REPORT line in the run's log, -1 where none was found."""
    method: Method = Method.NONE
    probability: float = 0.0
    """Of the label to be right; 1 by request id, 0 where nothing is claimed."""
    failed: bool = False
    """The function answered with an error or did not answer in time."""
    ready: bool = False
    """Without a journal: its response time has no room for the initialisation that its REPORT line shows, so that the
    environment had been started before, for a request that another one then took, or ahead of any."""

    @property
    def waited(self) -> bool:
        """Whether it stood before the function, be it for its own cold start or for a busy environment. Where no
        journal tells, a cold request did unless it was `ready`."""
        if self.invocation is None:
            return self.label in (Label.COLD, Label.WARM_WAITED) and not self.ready
        return self.invocation.wait_ms > WAITED_MS

    @property
    def served(self) -> bool:
        """Whether the function served it without failing, so that its time is the time of a service."""
        if self.invocation is not None:
            return self.invocation.status == "ok"
        return self.label in (Label.COLD, Label.WARM, Label.WARM_WAITED) and self.request.ok and not self.failed


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
    records: dict[str, Invocation | Throttled] = {}
    known: list[Invocation | Throttled] = [*journal.throttles, *journal.invocations]
    for record in known:
        records[record.request_id] = record
        if record.gateway_request_id:
            records[record.gateway_request_id] = record
    labelled = []
    for request in requests:
        record_of_it = records.get(request.request_id) if request.request_id else None
        invocation = record_of_it if isinstance(record_of_it, Invocation) else None
        label = label_of(request, record_of_it)
        sure = 0.0 if label is Label.UNMATCHED else 1.0
        failed = invocation is not None and invocation.status != "ok"
        labelled.append(LabelledRequest(request, label, invocation, -1, Method.REQUEST_ID, sure, failed))
    return labelled


def label_of(request: ClientRequest, record: Invocation | Throttled | None) -> Label:
    """The label of one request of a run that has a journal."""
    if isinstance(record, Invocation):
        if record.cold:
            return Label.COLD
        if record.status != "ok":
            return Label.FAILED_IN_FUNCTION
        return Label.WARM_WAITED if record.wait_ms > WAITED_MS else Label.WARM
    if record is not None or request.status == 429:
        return Label.THROTTLED
    if never_sent(request):
        return Label.FAILED_BEFORE_FUNCTION
    # Whatever reaches a function leaves a record under the answer's id, so a refusal without one never did.
    # A 5xx may be the gateway's time-out with the function still at work: that stays unmatched.
    if request.request_id and 400 <= request.status < 500:
        return Label.FAILED_BEFORE_FUNCTION
    return Label.UNMATCHED


def never_sent(request: ClientRequest) -> bool:
    return request.status == 0 and any(mark in request.error for mark in _NEVER_CONNECTED)


def refusal(request: ClientRequest) -> Label | None:
    """The label of a request that the client's record alone shows not to have reached a function, else None."""
    if request.status == 429:
        return Label.THROTTLED
    if request.status in REFUSED or never_sent(request):
        return Label.FAILED_BEFORE_FUNCTION
    return None


def account(labelled: Iterable[LabelledRequest], journal: Journal) -> Accounting:
    """Count the environments started in the run against their first requests."""
    started = {record.environment for record in journal.started}
    served = {record.environment for record in journal.invocations}
    matched = [item for item in labelled if item.invocation is not None]
    ours = {item.invocation.request_id for item in matched if item.invocation is not None}
    others = sum(record.cold and record.request_id not in ours for record in journal.invocations)
    cold = sum(item.label is Label.COLD for item in matched)
    return Accounting(len(started), cold, len(started - served), others)
