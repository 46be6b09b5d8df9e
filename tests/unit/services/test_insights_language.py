"""The query language of Logs Insights: what queries over a few events give, as the strings that AWS returns."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.kernel import loglines
from preheat.kernel.errors import AwsError
from preheat.services.logs.insights.language import Counts, parse
from preheat.services.logs.insights.records import Record
from preheat.services.logs.insights.values import java_double, plain, text

T0_MS = 1_700_000_100_000
"""2023-11-14 22:15:00, the beginning of five minutes."""

REQUEST = "0fc78b42-f6e0-400a-be91-71c5d1eadb{:02d}"


def event(minute: int, message: str) -> Record:
    at_ms = T0_MS + minute * 60_000 + 7
    return Record(at_ms, at_ms + 5, message, "000000000000:/aws/lambda/iris", "stream", f"pointer {minute}")


def report(number: int, **facts: Any) -> str:
    known = {"duration_ms": 10.5 + number, "billed": 11 + number, "memory_mb": 128, "max_memory_mb": 60 + number}
    return loglines.report(REQUEST.format(number), **{**known, **facts})


def run(query: str, *messages: str, limit: int | None = None) -> list[dict[str, str]]:
    """One event a minute."""
    compiled = parse(query, limit)
    rows = compiled.run((event(minute, message) for minute, message in enumerate(messages)), Counts())
    return [{name: text(value) for name in compiled.columns if (value := row.get(name)) is not None} for row in rows]


def one(query: str, message: str = "x") -> dict[str, str]:
    (row,) = run(query, message)
    return row


def value(expression: str, message: str = "x") -> str | None:
    return one(f"fields {expression} as v", message).get("v")


REPORTS = [report(number, init_ms=110.1 if number % 5 == 0 else None) for number in range(10)]
DOCUMENT = (
    '{"level":"ERROR","cold":true,"warm":false,"n":200,"x":1.50,"big":12345678.5,'
    '"user":{"id":7,"tags":["a","b"]},"a.b":1}'
)


def test_the_cold_start_query_of_the_fidelity_sheet() -> None:
    query = """filter @type="REPORT" | stats sum(strcontains(@message,"Init Duration"))/count(*)*100 as coldStartPct,
               avg(@duration) by bin(5m)"""
    assert run(query, *REPORTS, "END RequestId: x\n") == [
        {"bin(5m)": "2023-11-14 22:20:00.000", "coldStartPct": "20", "avg(@duration)": "17.5"},
        {"bin(5m)": "2023-11-14 22:15:00.000", "coldStartPct": "20", "avg(@duration)": "12.5"},
    ]


def test_the_fields_of_a_report_line() -> None:
    fields = "@type, @requestId, @duration, @billedDuration, @initDuration, @memorySize, @maxMemoryUsed"
    shown = one(f"fields {fields}, @timestamp, @ingestionTime, @logStream, @log", REPORTS[5])
    assert shown == {
        "@type": "REPORT",
        "@requestId": REQUEST.format(5),
        "@duration": "15.5",
        "@billedDuration": "16.0",
        "@initDuration": "110.1",
        "@memorySize": "1.28E8",
        "@maxMemoryUsed": "6.5E7",
        "@timestamp": "2023-11-14 22:15:00.007",
        "@ingestionTime": "2023-11-14 22:15:00.012",
        "@logStream": "stream",
        "@log": "000000000000:/aws/lambda/iris",
    }
    assert "@initDuration" not in one("fields @initDuration, @type", REPORTS[1])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            f"START RequestId: {REQUEST.format(1)} Version: $LATEST\n",
            {"@type": "START", "@requestId": REQUEST.format(1)},
        ),
        (f"END RequestId: {REQUEST.format(1)}\n", {"@type": "END", "@requestId": REQUEST.format(1)}),
        (f"[INFO]\t2020-01-01T00:00:00.000Z\t{REQUEST.format(1)}\thello\n", {"@requestId": REQUEST.format(1)}),
        ("INIT_START Runtime Version: x\n", {}),
        ("REPORT of the day: Duration: 5 ms", {}),
    ],
)
def test_the_type_and_request_of_a_line(message: str, expected: dict[str, str]) -> None:
    assert one("fields @type, @requestId, @duration", message) == expected


def test_over_provisioned_memory_as_in_awss_sample() -> None:
    query = """filter @type = "REPORT"
    | stats max(@memorySize / 1024 / 1024) as provisonedMemoryMB,
        min(@maxMemoryUsed / 1024 / 1024) as smallestMemoryRequestMB,
        avg(@maxMemoryUsed / 1024 / 1024) as avgMemoryUsedMB,
        max(@maxMemoryUsed / 1024 / 1024) as maxMemoryUsedMB,
        provisonedMemoryMB - maxMemoryUsedMB as overProvisionedMB"""
    assert run(query, *REPORTS) == [
        {
            "provisonedMemoryMB": "122.0703",
            "smallestMemoryRequestMB": "57.2205",
            "avgMemoryUsedMB": "61.512",
            "maxMemoryUsedMB": "65.8035",
            "overProvisionedMB": "56.2668",
        }
    ]


def test_the_snapstart_query_of_awss_samples() -> None:
    query = r"""filter @type = "REPORT"
    | parse @log /\d+:\/aws\/lambda\/(?<function>.*)/
    | parse @message /Restore Duration: (?<restoreDuration>.*?) ms/
    | stats count(*) as invocations,
        pct(@duration+coalesce(@initDuration,0)+coalesce(restoreDuration,0), 50) as p50,
        pct(@duration+coalesce(@initDuration,0)+coalesce(restoreDuration,0), 99.9) as p999
      group by function, (ispresent(@initDuration) or ispresent(restoreDuration)) as coldstart
    | sort by coldstart desc"""
    restored = report(3, restore=(244.38, 100))
    assert run(query, *REPORTS, restored) == [
        {"function": "iris", "coldstart": "1", "invocations": "3", "p50": "125.6", "p999": "257.88"},
        {"function": "iris", "coldstart": "0", "invocations": "8", "p50": "14.5", "p999": "19.5"},
    ]


def test_powertools_cold_starts_and_the_slowest_requests() -> None:
    line = '{{"level":"INFO","message":"m","cold_start":{},"service":"pay","function_memory_size":128}}'
    lines = [line.format("true" if number == 0 else "false") for number in range(4)]
    assert run("filter cold_start = 1 | stats count(*) as cold by service", *lines) == [{"service": "pay", "cold": "1"}]
    slowest = run('filter @type = "REPORT" | fields @requestId, @duration | sort @duration desc | limit 2', *REPORTS)
    assert [row["@duration"] for row in slowest] == ["19.5", "18.5"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('level = "ERROR"', True),
        ('level == "ERROR" and n = 200', True),
        ('level != "ERROR" or n >= 201', False),
        ("not (n < 200 or n > 200)", True),
        ("not n = 200 and cold", False),
        ('n = "200" and n = 200.0', True),
        ("cold = 1 and cold = true and warm = 0 and cold = 'true'", True),
        ("warm", False),
        ('level like "ERR"', True),
        ('level like "err"', False),
        ("level like /(?i)err/", True),
        ("level not like /^E/", False),
        ("level =~ /E.*R$/", True),
        ('level in ["INFO", "ERROR"]', True),
        ("n not in [1, 2]", True),
        ("user.id in [7]", True),
        ("ispresent(user.id) and not ispresent(user.name)", True),
        ("isempty(user.name) and isblank('  ') and isempty('')", True),
        ("missing = 1 or missing != 1 or missing < 1 or missing like 'x'", False),
        ("level > 'DEBUG'", True),
        ("`a.b` = 1 and `level` = 'ERROR'", True),
        ("user.tags.1 = 'b' and user.tags[0] = 'a'", True),
        (r"level like 'E\RROR' # a comment | and", True),
    ],
)
def test_filters(condition: str, holds: bool) -> None:
    assert bool(run(f"filter {condition}", DOCUMENT)) == holds


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3 - 4 / 8", "6.5"),
        ("(1 + 2) * 3 % 5", "4"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 - -3", "1"),
        ("1 / 0", None),
        ("1 + level", None),
        ("n + 1", "201"),
        ("x", "1.5"),
        ("big", "12345678.5"),
        ("user", '{"id":7,"tags":["a","b"]}'),
        ("1 / 3", "0.3333"),
        ("10.5 / 1000 * 0.0000166667", "0.000000175"),
        ("abs(-2) + ceil(1.2) + floor(1.8) + round(2.5) + sqrt(16) + log(1)", "12"),
        ("greatest(1, n, 3) - least(5, 2)", "198"),
        ("coalesce(nothing, level)", "ERROR"),
        ("if(n > 100, 'many', 'few')", "many"),
        ("case(n < 100, 'few', n < 300, 'some', 'many')", "some"),
        ("concat(level, '-', n)", "ERROR-200"),
        ("strlen('äß€')", "3"),
        ("toupper('aß') ", "ASS"),
        ("tolower(level)", "error"),
        ("trim('  a ')", "a"),
        ("ltrim('xxa', 'x')", "a"),
        ("rtrim('axx', 'x')", "a"),
        ("substr(level, 2)", "ROR"),
        ("substr(level, 1, 2)", "RR"),
        ("replace(level, 'R', 'r')", "ErrOr"),
        ("strcontains(level, 'ROR')", "1"),
        ("strcontains(level, 'ror', true)", "0"),
        ("strcontains(nothing, 'x')", "0"),
        ("startsWith(level, 'ERR')", "1"),
        ("endsWith(level, 'ERR')", "0"),
        ("toMillis(@timestamp)", str(T0_MS + 7)),
        ("fromMillis(0)", "1970-01-01 00:00:00.000"),
        ("datefloor(@timestamp, 1h)", "2023-11-14 22:00:00.000"),
        ("dateceil(@timestamp, 1h)", "2023-11-14 23:00:00.000"),
        ("datefloor(@timestamp, 1mo)", "2023-11-01 00:00:00.000"),
        ("dateceil(@timestamp, 1q)", "2024-01-01 00:00:00.000"),
        ("bin(30s)", "2023-11-14 22:15:00.000"),
        ("bin(2hrs)", "2023-11-14 22:00:00.000"),
        ("jsonStringify(user.tags)", '["a","b"]'),
        ("isValidIp('::1') + isValidIpV4('1.2.3.4') + isValidIpV6('1.2.3.4')", "2"),
        ("isIpInSubnet('10.1.2.3', '10.0.0.0/8')", "1"),
        ("cold", "1"),
    ],
)
def test_expressions(expression: str, expected: str | None) -> None:
    assert value(expression, DOCUMENT) == expected


def test_json_made_by_a_query_is_read_by_the_next_command() -> None:
    assert one("fields jsonParse(@message) as j | display j.user.tags.0, j.n", DOCUMENT) == {
        "j.user.tags.0": "a",
        "j.n": "200",
    }


def test_the_first_json_in_a_line_is_discovered() -> None:
    assert one("fields a.b, level", 'said {"a":{"b":2}} and {"a":3}') == {"a.b": "2"}
    assert one("fields a", "said {nothing") == {}


def test_parse_by_glob_and_by_pattern() -> None:
    line = "user=joe, method:get, latency := 12\n"
    glob = 'parse @message "user=*, method:*, latency := *" as @user, @method, @latency'
    assert one(f"{glob} | display @user, @method, @latency + 1 as more", line) == {
        "@user": "joe",
        "@method": "get",
        "more": "13",
    }
    assert one(r"parse @message /user=(?<who>\w+), method:(?<how>\w+)/ | display who, how", line) == {
        "who": "joe",
        "how": "get",
    }
    assert one(r"parse @message /user=(\w+)/ as who | display who", line) == {"who": "joe"}
    assert one("parse 'user=*,' as who", line) == {
        "@timestamp": "2023-11-14 22:15:00.007",
        "@message": line,
        "who": "joe",
    }
    assert one(f"{glob} | display @user", "something else") == {}


def test_stats_over_all_and_by_group() -> None:
    messages = [f'{{"k":"{key}","n":{number}}}' for key, number in (("a", 1), ("b", 5), ("a", 3), ("a", 8))]
    functions = "count(*), count(n), count(q), sum(n), avg(n), min(n), max(n), pct(n, 50), median(n), stddev(n)"
    assert run(f"stats {functions}", *messages) == [
        {
            **{"count(*)": "4", "count(n)": "4", "count(q)": "0", "sum(n)": "17", "avg(n)": "4.25", "min(n)": "1"},
            **{"max(n)": "8", "pct(n, 50)": "3", "median(n)": "3", "stddev(n)": "2.586"},
        }
    ]
    ends = "earliest(n) as e, latest(n) as l, sortsFirst(k) as f, sortsLast(k) as z, count_distinct(k) as d"
    assert run(f"stats {ends}", *messages) == [{"e": "1", "l": "8", "f": "a", "z": "b", "d": "2"}]
    assert run("stats sum(n) as total by k | sort total asc", *messages) == [
        {"k": "b", "total": "5"},
        {"k": "a", "total": "12"},
    ]
    assert run("stats latest(@timestamp)", "x") == [{"latest(@timestamp)": str(T0_MS + 7)}]
    assert run("stats avg(n) by k | sort avg( n ) desc | limit 1", *messages) == [{"k": "b", "avg(n)": "5"}]
    assert run("stats count(*) as c by k | stats max(c) as most", *messages) == [{"most": "3"}]
    assert run("stats count(*) by missing", *messages) == [{"count(*)": "4"}]
    assert run("stats count(*)") == []


def test_events_come_newest_first_and_limits_hold() -> None:
    assert [row["@message"] for row in run("limit 2", "a", "b", "c")] == ["c", "b"]
    assert [row["@message"] for row in run("fields @message", "a", "b", "c", limit=1)] == ["c"]
    assert [row["@message"] for row in run("fields @message | sort @message asc", "b", "c", "a")] == ["a", "b", "c"]
    assert len(run("sort @timestamp asc | limit any 2", "a", "b", "c")) == 2
    mixed = run("fields n, k | sort k desc, n asc", *(f'{{"k":{k},"n":{n}}}' for k, n in ((1, 2), (2, 9), (2, 1))))
    assert [(row["k"], row["n"]) for row in mixed] == [("2", "1"), ("2", "9"), ("1", "2")]


def test_dedup_keeps_the_newest_of_each_and_all_without_the_field() -> None:
    messages = ['{"k":1,"n":1}', '{"k":1,"n":2}', '{"n":3}', '{"n":4}']
    assert [row["n"] for row in run("fields n | dedup k", *messages)] == ["4", "3", "2"]


def test_what_is_shown() -> None:
    assert list(one("filter 1 = 1")) == ["@timestamp", "@message"]
    assert list(one("fields @message | fields @log, @message")) == ["@message", "@log"]
    assert list(one("fields @message, @log | display @logStream")) == ["@logStream"]
    assert one("fields @timestamp + 1, strlen(@message)") == {"@timestamp + 1": str(T0_MS + 8), "strlen(@message)": "1"}
    assert parse("limit 1").with_pointer
    assert not parse("stats count(*)").with_pointer


@pytest.mark.parametrize(
    ("query", "message", "start"),
    [
        ("", "unexpected end of the query at line 1 and position 0", 0),
        ("fields @x\n| count()", "unexpected symbol found count at line 2 and position 2", 12),
        ("fields a b", "unexpected symbol found b at line 1 and position 9", 9),
        ("filter a = ", "unexpected end of the query", 11),
        ("filter (a = 1", "unexpected end of the query", 13),
        ("stats foo(a)", "unexpected symbol found foo", 6),
        ("filter avg(a) > 1", "unexpected symbol found avg", 7),
        ("stats sum(avg(a))", "unexpected symbol found avg", 10),
        ("filter a like /(/", "invalid pattern", 14),
        ("filter a not = 1", "unexpected symbol found =", 13),
        ("stats count(*) by bin(5x)", "a length of time such as 5m", 22),
        ("stats pct(a, 101)", "a percentage is wanted", 13),
        ("fields strlen()", "wrong number of arguments for strlen", 7),
        ("limit 10001", "unexpected symbol found 10001", 6),
        ("limit 1.5", "unexpected symbol found 1.5", 6),
        ('parse @message "a*b*" as x', "2 parts to extract and 1 names", 15),
        ("dedup a | sort b", "unexpected symbol found sort", 10),
        ("fields a ! b", "unexpected symbol found !", 9),
        ("fields 'a", "unexpected symbol found '", 7),
        ("filter " + "(" * 500, "unexpected symbol found (", 67),
        ("fields " + "-" * 500 + "1", "unexpected symbol found -", 67),
    ],
)
def test_a_malformed_query_says_where(query: str, message: str, start: int) -> None:
    with pytest.raises(AwsError) as caught:
        parse(query)
    assert caught.value.code == "MalformedQueryException"
    assert message in caught.value.message
    assert caught.value.fields["queryCompileError"]["location"]["startCharOffset"] == start


@pytest.mark.parametrize("command", ["pattern @message", "diff", "unnest a into b", "anomaly", "join"])
def test_commands_that_are_not_built_say_so(command: str) -> None:
    with pytest.raises(AwsError) as caught:
        parse(f"fields @message | {command}")
    assert (caught.value.status, command.split()[0] in caught.value.message) == (501, True)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *((0.0, "0.0"), (1395.0, "1395.0"), (9.43, "9.43"), (1.28e8, "1.28E8"), (7.9e7, "7.9E7"), (1e7, "1.0E7")),
        *((9999999.0, "9999999.0"), (0.001, "0.001"), (0.0005, "5.0E-4"), (-2.5e9, "-2.5E9")),
        (123456789.25, "1.2345678925E8"),
    ],
)
def test_numbers_found_in_lines_are_shown_as_java_does(number: float, shown: str) -> None:
    assert java_double(number) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_java_numbers_read_back_as_they_were(number: float) -> None:
    assert float(java_double(number)) == number
    assert math.isclose(float(plain(number)), number, abs_tol=5e-5, rel_tol=1e-15)


def arithmetic() -> st.SearchStrategy[str]:
    return st.recursive(
        st.integers(1, 99).map(str),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"{parts[0]} {parts[1]} {parts[2]}"),
            inner.map(lambda one: f"({one})"),
        ),
        max_leaves=12,
    )


@given(arithmetic())
def test_arithmetic_is_that_of_python(expression: str) -> None:
    assert value(expression) == str(eval(expression))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_counts_by_group_are_those_of_a_counter(keys: list[str]) -> None:
    rows = run("stats count(*) as c by k", *(f'{{"k":"{key}"}}' for key in keys))
    assert {row["k"]: int(row["c"]) for row in rows} == Counter(keys)


@given(st.lists(st.text("abc=: .", max_size=6), min_size=2, max_size=2))
def test_what_a_glob_takes_out_is_what_was_there(parts: list[str]) -> None:
    first = parts[0].replace("=", "")
    found = one("parse @message 'k=*=*' as a, b | display a, b", f"k={first}={parts[1]}")
    assert (found["a"], found["b"]) == (first, parts[1])


TEXT = """fields filter stats sort limit parse dedup display by as and or not like in | , ( ) [ ] + - * / = != < "x" /y/
5 5m @message @timestamp count avg bin ispresent 'z' ` # \\"""
WORDS = st.sampled_from(TEXT.split())


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=30)))
def test_any_text_is_a_query_or_refused(query: str) -> None:
    refused = ""
    try:
        compiled = parse(query)
    except AwsError as error:
        refused = error.code
    else:
        compiled.run([event(0, "x"), event(1, DOCUMENT)], Counts())
    assert refused in ("", "MalformedQueryException", "NotImplementedException")
