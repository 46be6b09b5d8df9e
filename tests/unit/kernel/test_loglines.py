"""Lines as ../shared/FIDELITY.md quotes them from real AWS."""

import re

from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel import loglines

ID = "8f5d8b2e-0000-4000-8000-0123456789ab"


def test_start_and_end() -> None:
    assert loglines.start(ID, "$LATEST") == f"START RequestId: {ID} Version: $LATEST\n"
    assert loglines.end(ID) == f"END RequestId: {ID}\n"


def test_report_of_a_cold_and_a_warm_request() -> None:
    assert loglines.report(ID, 3.01, 114, 128, 36, 110.1) == (
        f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 114 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n"
    )
    assert "Init Duration" not in loglines.report(ID, 3.01, 4, 128, 36)


def test_report_of_a_failure_ends_without_the_tab() -> None:
    assert loglines.report(ID, 2000.0, 2000, 128, 36, status="timeout").endswith("36 MB\tStatus: timeout\n")
    line = loglines.report(ID, 1, 1, 128, 128, status="error", error_type="Runtime.OutOfMemory")
    assert line.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")


def test_billed_is_the_ceiling_of_duration_and_init() -> None:
    assert loglines.billed_ms(3.01, None) == 4
    assert loglines.billed_ms(3.01, 110.10) == 114
    assert loglines.billed_ms(2000.0, None) == 2000
    assert loglines.billed_ms(0.1 + 0.2, 1.7) == 2  # 2.0000000000000004 is 2


def test_init_report() -> None:
    line = loglines.init_report(150.79, "init", "error", "Runtime.UserCodeSyntaxError")
    assert line == "INIT_REPORT Init Duration: 150.79 ms\tPhase: init\tStatus: error\tError Type: " + (
        "Runtime.UserCodeSyntaxError\n"
    )
    assert loglines.init_report(9999.79, "init", "timeout") == (
        "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"
    )


def test_timed_out() -> None:
    line = loglines.timed_out(1_700_000_000_123, ID, 2.02)
    assert line == f"2023-11-14T22:13:20.123Z {ID} Task timed out after 2.02 seconds\n\n"


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(["$LATEST", "1"]))
def test_stream_name(epoch_ms: int, version: str) -> None:
    name = loglines.stream_name(epoch_ms, version, "0" * 32)
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[(\$LATEST|1)\]0{32}", name)
