"""Every request gets the label that the journal gives it, and every environment is accounted for."""

from __future__ import annotations

import json

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from preheat.analysis.journal import Invocation, Journal, parse_journal
from preheat.analysis.labels import WAITED_MS, Accounting, Label, account, label_of, label_requests
from preheat.analysis.requests_csv import ClientRequest
from preheat.kernel.events import EnvironmentStarted, Throttled


def request(status: int = 200, request_id: str = "g-1", error: str = "") -> ClientRequest:
    return ClientRequest(0, 100.0, 5.0, status, request_id, error)


def invocation(
    *, cold: bool = False, wait_ms: float = 0.1, status: str = "ok", environment: str = "e1", number: int = 1
) -> Invocation:
    return Invocation(
        at_ms=1.0,
        request_id=f"l-{number}",
        gateway_request_id=f"g-{number}",
        environment=environment,
        cold=cold,
        init_ms=None,
        billed_ms=3,
        memory_mb=512,
        max_memory_mb=126,
        error_type=None,
        wait_ms=wait_ms,
        duration_ms=3.0,
        status=status,
    )


THROTTLE = Throttled(1.0, request_id="l-1", gateway_request_id="g-1", function="iris", reason="limit")


@pytest.mark.parametrize(
    ("sent", "record", "label"),
    [
        (request(), invocation(cold=True, wait_ms=1800), Label.COLD),
        (request(), invocation(cold=True, wait_ms=0), Label.COLD),  # started earlier, for another request
        (request(502), invocation(cold=True, status="error"), Label.COLD),
        (request(), invocation(), Label.WARM),
        (request(400), invocation(), Label.WARM),  # the handler's own 400: it ran and answered
        (request(), invocation(wait_ms=WAITED_MS), Label.WARM),
        (request(), invocation(wait_ms=WAITED_MS + 0.01), Label.WARM_WAITED),
        (request(502), invocation(status="error"), Label.FAILED_IN_FUNCTION),
        (request(502), invocation(status="timeout", wait_ms=50), Label.FAILED_IN_FUNCTION),
        (request(502), invocation(status="crash"), Label.FAILED_IN_FUNCTION),
        (request(429), THROTTLE, Label.THROTTLED),
        (request(500), THROTTLE, Label.THROTTLED),
        (request(429), None, Label.THROTTLED),
        (request(403), None, Label.FAILED_BEFORE_FUNCTION),
        (request(403, ""), None, Label.UNMATCHED),
        (request(0, "", "ConnectionRefusedError(111)"), None, Label.FAILED_BEFORE_FUNCTION),
        (request(0, "", "ReadTimeout"), None, Label.UNMATCHED),
        (request(504), None, Label.UNMATCHED),  # the gateway gave up; the function may still be running
        (request(200), None, Label.UNMATCHED),
        (request(200, ""), None, Label.UNMATCHED),
    ],
)
def test_the_label_follows_the_record(sent: ClientRequest, record: Invocation | Throttled | None, label: Label) -> None:
    assert label_of(sent, record) is label


def test_a_request_is_found_by_the_gateways_id_and_by_lambdas() -> None:
    journal = Journal(invocations=[invocation(cold=True)])
    by_gateway, direct, stranger = label_requests([request(), request(200, "l-1"), request(200, "other")], journal)
    assert by_gateway.invocation is direct.invocation is journal.invocations[0]
    assert stranger.label is Label.UNMATCHED


def test_without_a_journal_everything_is_unknown() -> None:
    assert [item.label for item in label_requests([request(), request(403)], None)] == [Label.UNKNOWN] * 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [{}, {"prewarmed": 4}, {"always_cold": True}, {"refused": True}, {"max_inits": 6}])
def test_synthetic_runs_are_labelled_without_a_mistake(seed: int, shape: dict[str, object]) -> None:
    run = synthetic.make_run(seed=seed, users=30, run_time_s=15, **shape)  # type: ignore[arg-type]
    journal = parse_journal("\n".join(map(json.dumps, run.journal)).encode())
    requests = [
        ClientRequest(row["index"], float(row["start_s"]), float(row["response_ms"]), row["status"], row["request_id"])
        for row in run.rows
    ]
    labelled = label_requests(requests, journal)
    assert [str(item.label) for item in labelled] == run.truth
    assert account(labelled, journal).ok


def started(*environments: str) -> list[EnvironmentStarted]:
    return [EnvironmentStarted(1.0, name, "iris", "$LATEST", "r1", "process", "on-demand") for name in environments]


def test_environments_that_never_served_and_those_of_others_are_counted() -> None:
    first = [invocation(cold=True, environment="e1"), invocation(cold=True, environment="e2", number=2)]
    journal = Journal(started=started("e1", "e2", "e3"), invocations=[*first, invocation(environment="e1", number=3)])
    counted = account(label_requests([request()], journal), journal)
    assert counted == Accounting(started=3, cold=1, never_served=1, cold_from_others=1)
    assert counted.ok


@pytest.mark.parametrize(
    "journal",
    [
        Journal(started=started("e1"), invocations=[invocation()]),  # served, but nobody was its first
        Journal(started=[], invocations=[invocation(cold=True)]),  # a first request of one that never started
        Journal(started=started("e1"), invocations=[invocation(cold=True), invocation(cold=True, number=2)]),
    ],
)
def test_a_journal_with_gaps_does_not_add_up(journal: Journal) -> None:
    assert not account(label_requests([request()], journal), journal).ok


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans())))
def test_every_first_request_is_either_ours_or_anothers(served: list[tuple[int, bool, bool]]) -> None:
    seen: set[int] = set()
    journal, ours = Journal(started=started(*(f"e{number}" for number in range(6)))), []
    for number, (environment, is_ours, waited) in enumerate(served):
        cold = environment not in seen
        seen.add(environment)
        wait_ms = 9.0 if waited else 0.0
        journal.invocations.append(invocation(cold=cold, wait_ms=wait_ms, environment=f"e{environment}", number=number))
        if is_ours:
            ours.append(request(200, f"g-{number}"))
    labelled = label_requests(ours, journal)
    counted = account(labelled, journal)
    assert counted.ok
    assert counted.cold + counted.cold_from_others == len(seen)
    assert sum(item.label is Label.COLD for item in labelled) == counted.cold
