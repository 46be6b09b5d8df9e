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
        ("[ip, user]", "Space-delimited filter patterns are not built"),
        ("%ERR.*%", "Regular expression filter patterns are not built"),
        ("{ $.a = ", "Invalid filter pattern"),
        ("{ $.a }", "Invalid filter pattern"),
        ("{ $.a = 1 && }", "Invalid filter pattern"),
        ("{ ($.a = 1 }", "Invalid filter pattern"),
        ("{ $.a > text }", "Invalid filter pattern: > needs a number"),
        ("{ $.a = %x% }", "Invalid filter pattern"),
        ("{}", "Invalid filter pattern"),
    ],
)
def test_bad_patterns_say_so(pattern: str, message: str) -> None:
    with pytest.raises(AwsError) as error:
        compile_pattern(pattern)
    assert error.value.code == "InvalidParameterException"
    assert message in error.value.message


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
