"""The journal is read line by line; what is broken or new costs only its own line."""

from __future__ import annotations

import json

import synthetic
from hypothesis import given
from hypothesis import strategies as st

from preheat.analysis.journal import Journal, parse_journal

THROTTLE = {
    **{"type": "throttle", "at_ms": 1, "request_id": "t", "gateway_request_id": None},
    **{"function": "iris", "reason": "limit"},
}
STOPPED = {
    **{"type": "environment_stopped", "at_ms": 2, "environment": "e", "function": "iris"},
    **{"reason": "idle", "served": 3},
}


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_every_kind_is_filed_in_the_order_written() -> None:
    run = synthetic.make_run(users=10, run_time_s=5)
    run.journal.append(THROTTLE)
    run.journal.append(STOPPED)
    journal = parse_journal(lines(*run.journal))
    kinds = [record["type"] for record in run.journal]
    assert len(journal.started) == kinds.count("environment_started") > 0
    assert len(journal.inits) == kinds.count("init_done") > 0
    assert [record.gateway_request_id for record in journal.invocations] == [row["request_id"] for row in run.rows]
    assert [record.reason for record in journal.throttles] == ["limit"]
    assert [record.served for record in journal.stopped] == [3]
    assert journal.bad_lines == 0


def test_kinds_and_fields_of_newer_servers_are_passed_over() -> None:
    journal = parse_journal(lines({"type": "of-the-future", "at_ms": 1}, THROTTLE | {"new": 1}))
    assert (len(journal.throttles), journal.bad_lines) == (1, 0)


def test_broken_lines_are_counted() -> None:
    good = lines(THROTTLE)
    data = good + b'\xff\xfe\n{"type": "throttle"}\n[]\n\n   \n{"type":"invocation","at_ms":1,"requ'
    journal = parse_journal(data)
    assert (len(journal.throttles), journal.bad_lines) == (1, 4)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    assert isinstance(parse_journal(data), Journal)
