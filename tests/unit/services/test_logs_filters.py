"""Filter patterns, after the examples of the CloudWatch Logs user guide."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.errors import AwsError
from preheat.services.logs.filters import compile_pattern

REPORT = "REPORT RequestId: 1\tDuration: 3.01 ms\tInit Duration: 110.10 ms\t\n"


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("   ", "anything", True),
        ("REPORT", REPORT, True),
        ("report", REPORT, False),
        ("REPORT Duration", REPORT, True),
        ("REPORT Missing", REPORT, False),
        ('"Init Duration"', REPORT, True),
        ('"Duration Init"', REPORT, False),
        ('REPORT -"Init Duration"', REPORT, False),
        ('REPORT -"Init Duration"', "REPORT RequestId: 2", True),
        ("-START", "END", True),
        ("?ERROR ?WARN", "[WARN] x", True),
        ("?ERROR ?WARN", "[INFO] x", False),
        ("?ERROR REPORT", REPORT, True),
        ('"say \\"hi\\""', 'they say "hi"', True),
        ("%Init Duration: [0-9.]+ ms%", REPORT, True),
        ("%Init Duration: [a-z]+ ms%", REPORT, False),
        ("REPORT -%Init%", REPORT, False),
        ("?%nothing% ?%Dur%", REPORT, True),
    ],
)
def test_terms(pattern: str, message: str, matches: bool) -> None:
    assert compile_pattern(pattern)(message) is matches


DOCUMENT = json.dumps(
    {
        "type": "platform.report",
        "record": {"metrics": {"durationMs": 12.5, "coldStart": True}, "error": None, "list": [{"a": "x"}, 7]},
        "user id": "7",
        "n": "5",
    }
)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ('{ $.type = "platform.report" }', True),
        ('{ $.type = "platform.*" }', True),
        ("{ $.type = *report }", True),
        ('{ $.type != "platform.start" }', True),
        ('{ $.missing != "x" }', False),
        ("{ $.record.metrics.durationMs > 12 }", True),
        ("{ $.record.metrics.durationMs >= 12.5 }", True),
        ("{ $.record.metrics.durationMs < 12.5 }", False),
        ("{ $.record.metrics.durationMs = 12.5 }", True),
        ("{ $.n > 1 }", False),
        ("{ $.record.list[1] = 7 }", True),
        ('{ $.record.list[0].a = "x" }', True),
        ("{ $.record.list[9] = 7 }", False),
        ("{ $.record.error IS NULL }", True),
        ("{ $.record.metrics.coldStart IS TRUE }", True),
        ("{ $.record.metrics.coldStart IS FALSE }", False),
        ("{ $.record.nothing NOT EXISTS }", True),
        ("{ $.record.error NOT EXISTS }", False),
        ("{ $.type = %^plat.*port$% }", True),
        ("{ $.type != %plat% }", False),
        ("{ $['user id'] = \"7\" }", True),
        ('{ $.n = "9" || $.record.metrics.durationMs > 1 && $.type = "nope" }', False),
        ('{ ($.n = "5" || $.record.metrics.durationMs > 1) && $.type = "platform.report" }', True),
    ],
)
def test_json_conditions(pattern: str, matches: bool) -> None:
    matcher = compile_pattern(pattern)
    assert matcher(DOCUMENT) is matches
    assert matcher("REPORT, not JSON") is False
    assert matcher("{ broken") is False


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("RequestId:", "Invalid character(s) in term 'RequestId:'"),
        ('"open', "Invalid filter pattern"),
        ("[ip, user", "Invalid filter pattern"),
        ("[..., a, ...]", "more than one ellipsis"),
        ("[a = ]", "unexpected ''"),
        ("[a b]", "unexpected 'b'"),
        ("[(a = 1]", "unexpected"),
        ("[a > text]", "> needs a number"),
        ("[a ! b]", "near ' ! b'"),
        ("%(%", "Invalid regular expression"),
        ("{ $.a = ", "Invalid filter pattern"),
        ("{ $.a }", "Invalid filter pattern"),
        ("{ $.a = 1 && }", "Invalid filter pattern"),
        ("{ ($.a = 1 }", "Invalid filter pattern"),
        ("{ $.a > text }", "Invalid filter pattern: > needs a number"),
        ("{ $.a = %(% }", "Invalid regular expression"),
        ("{ $.a > %x% }", "> needs a number"),
        ("{}", "Invalid filter pattern"),
    ],
)
def test_bad_patterns_say_so(pattern: str, message: str) -> None:
    with pytest.raises(AwsError) as error:
        compile_pattern(pattern)
    assert error.value.code == "InvalidParameterException"
    assert message in error.value.message


ACCESS = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("[ip, id, user, timestamp, request, status_code, bytes]", True),
        ("[ip, id, user, timestamp, request, status_code]", False),
        ("[ip, , user, timestamp, request, status_code = 4*, bytes]", True),
        ("[ip, id, user, timestamp, request, status_code = 404, bytes > 1000]", True),
        ("[..., status_code = 404, bytes < 1000]", False),
        ("[ip != 10.*, ...]", True),
        ("[..., request = *html*, status_code = 4* || status_code = 5*, bytes]", True),
        ("[..., (b = 1 || b = 1534) && b != 7]", True),
        ('[ip = "127.0.0.1", ..., b]', True),
        ("[ip = %^127%, ...]", True),
        ("[ip, id = 5, ...]", False),
        ("[ip, id != 5, ...]", True),
        ("[...]", True),
    ],
)
def test_columns(pattern: str, matches: bool) -> None:
    assert compile_pattern(pattern)(ACCESS) is matches


@given(st.text('[]a1=<>!&|(),.% "', max_size=25), st.text('ab1 "[]', max_size=20))
def test_no_column_pattern_breaks_more_than_itself(pattern: str, message: str) -> None:
    refused = ""
    try:
        assert compile_pattern(f"[{pattern}]")(message) in (True, False)
    except AwsError as error:
        refused = error.code
    assert refused in ("", "InvalidParameterException")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_pattern_breaks_more_than_itself(pattern: str, message: str) -> None:
    try:
        matcher = compile_pattern(pattern)
    except AwsError as error:
        matcher = None
        refused = error.code
    assert matcher(message) in (True, False) if matcher else refused == "InvalidParameterException"


@given(st.text(max_size=30), st.text(alphabet="ab \"\\'", max_size=12), st.text(max_size=30))
def test_a_quoted_phrase_is_found_wherever_it_stands(before: str, phrase: str, after: str) -> None:
    quoted = phrase.replace("\\", "\\\\").replace('"', '\\"')
    assert compile_pattern(f'"{quoted}"')(before + phrase + after)
