"""requests.csv is read whole or as far as it goes; nothing in it can break the reading."""

from __future__ import annotations

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from preheat.analysis.requests_csv import COLUMNS, ClientRequest, parse_requests

HEADER = ",".join(COLUMNS)
FULL = "0,u1,POST,/default/iris,http://h/x,100.25,100.5,new,0.3,1.2,12.5,200,45,abc-1,"


def parse(*lines: str) -> list[ClientRequest]:
    return parse_requests("\n".join([HEADER, *lines]).encode()).rows


def test_a_row_has_every_field() -> None:
    assert parse(FULL) == [
        ClientRequest(
            index=0,
            start_s=100.5,
            response_ms=12.5,
            status=200,
            request_id="abc-1",
            user="u1",
            method="POST",
            name="/default/iris",
            url="http://h/x",
            intended_start_s=100.25,
            connection="new",
            connect_ms=0.3,
            tls_ms=1.2,
            size_bytes=45,
        )
    ]


def test_set_up_is_tcp_and_tls_and_absent_when_not_measured() -> None:
    request = parse(FULL)[0]
    assert request.setup_ms == pytest.approx(1.5)
    assert replace(request, connect_ms=None).setup_ms == 1.2
    assert replace(request, connect_ms=None, tls_ms=None).setup_ms is None


@pytest.mark.parametrize(
    ("status", "error", "ok"), [(200, "", True), (302, "", True), (403, "", False), (0, "", False), (200, "bad", False)]
)
def test_ok_means_answered_well_and_not_marked_failed(status: int, error: str, ok: bool) -> None:
    assert ClientRequest(0, 1.0, 1.0, status, error=error).ok is ok


def test_columns_may_come_in_any_order_and_some_may_be_missing() -> None:
    data = b"status,request_id,response_ms,start_s,index\r\n200,x,5,7,3\r\n"
    assert parse_requests(data).rows == [ClientRequest(3, 7.0, 5.0, 200, "x")]


def test_a_missing_column_that_matters_is_named() -> None:
    with pytest.raises(ValueError, match="no column request_id, status"):
        parse_requests(b"index,start_s,response_ms\n")


def test_rows_are_put_in_the_order_sent() -> None:
    late, early = FULL, FULL.replace("0,u1", "1,u1").replace(",100.5,", ",99.5,")
    assert [request.index for request in parse(late, early)] == [1, 0]


@pytest.mark.parametrize(
    "bad", ["nonsense", FULL.replace("12.5", "nan"), FULL.replace("12.5", "-1"), FULL.replace(",200,", ",ok,")]
)
def test_a_bad_row_in_the_middle_is_counted_by_its_line(bad: str) -> None:
    table = parse_requests("\n".join([HEADER, bad, FULL]).encode())
    assert (len(table.rows), table.bad_rows, table.torn) == (1, [2], False)


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    data = f"{HEADER}\n{FULL}".encode() + b"caf\xe9\n"
    assert parse_requests(data).rows[0].error == "caf\N{REPLACEMENT CHARACTER}"


def test_an_endless_quote_costs_only_the_rest() -> None:
    data = f'{HEADER}\n{FULL}\n{FULL}"{"x" * 200_000}'.encode()
    table = parse_requests(data)
    assert (len(table.rows), table.torn) == (1, True)


@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_row(data: st.DataObject) -> None:
    rows = [FULL.replace("abc-1", f"id-{number}") + f'"error, {number}"' for number in range(4)]
    whole = "\n".join([HEADER, *rows]) + "\n"
    full = parse_requests(whole.encode()).rows
    cut = data.draw(st.integers(len(HEADER) + 1, len(whole)))
    table = parse_requests(whole[:cut].encode())
    kept = [replace(request, error="") for request in table.rows]
    assert kept == [replace(request, error="") for request in full[: len(kept)]]
    assert len(kept) >= whole[:cut].count("\n") - 1
    assert table.bad_rows == []


@given(st.binary(max_size=300))
def test_any_bytes_after_the_header_are_read(junk: bytes) -> None:
    table = parse_requests(f"{HEADER}\n{FULL}\n".encode() + junk)
    assert FULL.split(",")[13] in {request.request_id for request in table.rows}


def test_an_empty_file_has_no_rows() -> None:
    table = parse_requests(b"")
    assert (table.rows, table.bad_rows, table.torn) == ([], [], False)


def test_the_generator_writes_what_is_read() -> None:
    run = synthetic.make_run(users=5, run_time_s=5)
    text = "\n".join([HEADER, *(",".join(str(row[column]) for column in COLUMNS) for row in run.rows)])
    assert [request.request_id for request in parse_requests(text.encode()).rows] == [r["request_id"] for r in run.rows]


def test_empty_lines_are_no_rows() -> None:
    table = parse_requests(f"{HEADER}\n\n{FULL}\n\n\n".encode())
    assert (len(table.rows), table.bad_rows, table.torn) == (1, [], False)
