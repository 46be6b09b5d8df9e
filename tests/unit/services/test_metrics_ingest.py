"""The journal's records to AWS/Lambda's metrics: exact counts, across chunks, restarts and late records."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.execution import journal as journal_module
from preheat.execution.journal import Journal
from preheat.kernel.events import EnvironmentStopped, InvocationDone, Throttled
from preheat.services.metrics.concurrency import ALL, UNRESERVED, InProgress
from preheat.services.metrics.ingest import JournalMetrics
from preheat.services.metrics.points import Point
from preheat.services.metrics.store import Dimensions, MetricStore, Series

T0_S = 1_700_000_040
"""The beginning of a minute."""


def invocation(at_s: float, took_s: float, function: str = "f", **facts: object) -> InvocationDone:
    began_ns = 10**12
    known = {
        "version": "$LATEST",
        "status": "ok",
        "init_type": "on-demand",
        "duration_ms": round(took_s * 1000, 2),
        "qualifier": None,
        **facts,
    }
    return InvocationDone(
        at_ms=at_s * 1000,
        request_id="r",
        gateway_request_id=None,
        function=function,
        environment="e",
        cold=False,
        received_ns=began_ns,
        started_ns=began_ns,
        finished_ns=began_ns + int(took_s * 1e9),
        wait_ms=0.0,
        init_ms=None,
        billed_ms=1,
        memory_mb=128,
        max_memory_mb=60,
        error_type=None,
        log_group="g",
        log_stream="s",
        **known,  # type: ignore[arg-type]
    )


def throttle(at_s: float, function: str = "f", **facts: str) -> Throttled:
    return Throttled(at_s * 1000, "r", None, function, "why", **facts)


class Ingest:
    def __init__(self, directory: Path, reserved: str = "") -> None:
        self.directory = directory
        self.journal = Journal(directory / "journal")
        self._reserved = reserved
        self.ended = threading.Event()
        self.store = MetricStore(directory / "metrics.db")
        self.metrics = self._made()

    def _made(self) -> JournalMetrics:
        return JournalMetrics(self.store, self.journal, lambda function: function == self._reserved, self.ended)

    def restart(self) -> None:
        self.store.close()
        self.store = MetricStore(self.directory / "metrics.db")
        self.metrics = self._made()

    def write(self, *records: InvocationDone | Throttled | EnvironmentStopped) -> None:
        for record in records:
            self.journal.write(record)
        self.metrics.read_on()

    def minutes(self, name: str, dimensions: Dimensions = ()) -> dict[int, Point]:
        """By minutes since T0_S."""
        unit = "Milliseconds" if name == "Duration" else "Count"
        series = Series("AWS/Lambda", name, dimensions, unit)
        return {(at - T0_S) // 60: point for at, point in self.store.points([series], 0, 2**40)}

    def sums(self, name: str, dimensions: Dimensions = ()) -> dict[int, float]:
        return {minute: point.total for minute, point in self.minutes(name, dimensions).items()}


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(tmp_path, reserved="kept")
    yield made
    made.journal.close()
    made.store.close()


F = (("FunctionName", "f"),)


def test_counts_errors_durations_and_throttles_by_minute(ingest: Ingest) -> None:
    ingest.write(
        invocation(T0_S + 1, 0.25),
        invocation(T0_S + 2, 0.5, status="error"),
        EnvironmentStopped(T0_S * 1000, "e", "f", "idle", 2),
        throttle(T0_S + 3),
        invocation(T0_S + 61, 1, status="timeout"),
        invocation(T0_S + 61, 1, function="g", init_type="provisioned-concurrency"),
    )
    assert ingest.sums("Invocations", F) == {0: 2, 1: 1}
    assert ingest.sums("Invocations") == {0: 2, 1: 2}
    assert ingest.sums("Errors", F) == {0: 1, 1: 1}
    assert ingest.minutes("Errors", F)[0].count == 2  # 0 or 1 for each: the average is the error rate
    assert ingest.sums("Throttles", F) == {0: 1, 1: 0}
    assert ingest.minutes("Throttles", F)[0].count == 3
    assert ingest.sums("Duration", F) == {0: 750, 1: 1000}
    assert ingest.sums("ProvisionedConcurrencyInvocations") == {1: 1}


def test_a_resource_is_the_function_its_version_or_the_alias_asked_for(ingest: Ingest) -> None:
    ingest.write(
        invocation(T0_S, 0.1),
        invocation(T0_S, 0.1, version="3", qualifier="3"),
        invocation(T0_S, 0.1, version="3", qualifier="prod"),
        invocation(T0_S, 0.1, version="4", qualifier="prod"),
        throttle(T0_S, version="4", qualifier="prod"),
    )

    def resource(name: str) -> Dimensions:
        return (*F, ("Resource", name))

    assert ingest.sums("Invocations", F) == {0: 4}
    assert ingest.sums("Invocations", resource("f")) == {0: 1}
    assert ingest.sums("Invocations", resource("f:3")) == {0: 1}
    assert ingest.sums("Invocations", resource("f:prod")) == {0: 2}
    assert ingest.sums("Throttles", resource("f:prod")) == {0: 1}
    assert ingest.sums("Invocations", (("ExecutedVersion", "4"), *resource("f:prod"))) == {0: 1}
    assert ingest.sums("Invocations", (("ExecutedVersion", "3"), *resource("f:3"))) == {}


def test_it_reads_on_and_counts_nothing_twice(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CHUNK_BYTES", 1200)  # two or three records
    monkeypatch.setattr(journal_module, "_SEGMENT_BYTES", 3000)
    for number in range(40):
        ingest.write(invocation(T0_S + number, 0.01))
        if number % 7 == 0:
            ingest.restart()
    ingest.metrics.read_on()
    assert ingest.sums("Invocations", F) == {0: 40}
    assert len(list((ingest.directory / "journal").iterdir())) > 1


def test_concurrency_is_whole_after_a_restart(ingest: Ingest) -> None:
    ingest.write(invocation(T0_S + 1, 10), invocation(T0_S + 2, 10))
    ingest.restart()
    ingest.write(invocation(T0_S, 30))  # it began first and ended last
    assert ingest.minutes("ConcurrentExecutions", F)[0].high == 3


def test_a_server_that_ends_does_not_wait_for_the_whole_journal(ingest: Ingest) -> None:
    ingest.ended.set()
    ingest.write(invocation(T0_S, 0.1))
    assert ingest.sums("Invocations", F) == {}
    ingest.ended.clear()
    ingest.metrics.read_on()
    assert ingest.sums("Invocations", F) == {0: 1}


def test_a_torn_line_waits_for_its_end(ingest: Ingest) -> None:
    ingest.write(invocation(T0_S, 0.1))
    (segment,) = (ingest.directory / "journal").iterdir()
    with segment.open("ab") as torn:
        torn.write(b'{"type":"invocation","at_ms":17')
    ingest.metrics.read_on()
    assert ingest.sums("Invocations", F) == {0: 1}


def test_concurrency_of_functions_together_and_of_those_without_a_reservation(ingest: Ingest) -> None:
    ingest.write(invocation(T0_S, 5), invocation(T0_S + 1, 5, function="kept"), invocation(T0_S + 70, 1))
    assert {minute: point.high for minute, point in ingest.minutes("ConcurrentExecutions").items()} == {0: 2, 1: 1}
    assert ingest.minutes("ConcurrentExecutions", F)[0].high == 1
    assert ingest.minutes("UnreservedConcurrentExecutions")[0].high == 1


SPANS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200), st.integers(0, 100)), min_size=1, max_size=30)


@settings(deadline=None)
@given(SPANS)
def test_the_highest_level_of_a_minute_is_that_of_a_sweep_over_all(spans: list[tuple[str, int, int]]) -> None:
    in_progress = InProgress(lambda function: function == "a")
    found: dict[tuple[str, int], Point] = {}
    for function, began, took in spans:
        in_progress.add(function, T0_S + began, T0_S + began + took + 0.5)
        found.update(in_progress.changed())

    def highest(minute: int, functions: str) -> int:
        first, last = minute * 60, minute * 60 + 59
        chosen = [(began, began + took) for function, began, took in spans if function in functions]
        return max(sum(began <= at <= ended for began, ended in chosen) for at in range(first, last + 1))

    for (function, minute_s), point in found.items():
        functions = {ALL: "abc", UNRESERVED: "bc"}.get(function, function)
        assert point.high == highest((minute_s - T0_S) // 60, functions)


def test_minutes_long_over_are_forgotten() -> None:
    in_progress = InProgress(lambda function: False)
    for minute in range(100):
        in_progress.add("f", T0_S + minute * 60, T0_S + minute * 60 + 1)
        in_progress.changed()
    in_progress.add("f", T0_S, T0_S + 1)  # nothing so old can come: the minute is final
    assert in_progress.changed() == {}
    assert len(in_progress._spans) <= 17
