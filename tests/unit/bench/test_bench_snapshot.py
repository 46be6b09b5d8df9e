"""Samples of restored environments count only if the server's records prove what the row claims."""

from __future__ import annotations

from typing import Any

import pytest

from bench.live import check_at_once
from bench.snapshot import check_all_cold, described
from bench.stats import percentile_interval


def served(environment: str, *, cold: bool = True, origin: str = "spare") -> dict[str, Any]:
    return {
        "type": "invocation",
        "environment": environment,
        "cold": cold,
        "restore_ms": 1.5 if cold else None,
        "origin": origin,
    }


def restored(environment: str) -> dict[str, Any]:
    return {"type": "restored", "environment": environment}


GOOD = [restored("a"), served("a"), restored("b"), served("b", origin="fork")]


def test_first_requests_of_restored_environments_are_cold_starts() -> None:
    assert [one["environment"] for one in check_all_cold(GOOD, 2)] == ["a", "b"]
    text = described([1.0, 3.0], check_all_cold(GOOD, 2))
    assert text == "p50 2.00 p99 2.98 ms, restore p50 1.50 ms, origins: 1 fork, 1 spare"


@pytest.mark.parametrize(
    ("records", "expected"),
    [(GOOD, 3), ([*GOOD, served("a", cold=False)], 2), ([*GOOD, served("a", cold=False)], 3), ([served("a")], 1)],
    ids=["one missing", "one warm too many", "one warm", "not restored"],
)
def test_anything_else_fails_the_row(records: list[dict[str, Any]], expected: int) -> None:
    with pytest.raises(RuntimeError, match="should be"):
        check_all_cold(records, expected)


def inside(environment: str, started_ns: int, finished_ns: int) -> dict[str, Any]:
    return {"environment": environment, "started_ns": started_ns, "finished_ns": finished_ns}


def test_at_once_means_one_moment_that_all_share() -> None:
    check_at_once([inside("a", 0, 10), inside("b", 9, 12)], 2)
    for wrong in (
        [inside("a", 0, 10), inside("b", 10, 12)],
        [inside("a", 0, 10), inside("a", 5, 12)],
        [inside("a", 0, 10)],
    ):
        with pytest.raises(RuntimeError, match="environments, overlapping"):
            check_at_once(wrong, 2)


def test_a_percentiles_interval_holds_it_and_narrows_with_rounds() -> None:
    few = percentile_interval([[1, 2, 3], [4, 5, 30]], 0.99)
    assert few[0] <= 29 <= few[1]
    assert percentile_interval([[7.0, 7.0]] * 5, 0.99) == (7.0, 7.0)
