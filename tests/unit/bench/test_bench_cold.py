"""A cold sample counts only if the server's records prove it cold."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cold import check_all_cold


def started(environment: str, at_ms: float) -> dict[str, Any]:
    return {"type": "environment_started", "environment": environment, "at_ms": at_ms}


def served(environment: str, at_ms: float, *, cold: bool = True) -> dict[str, Any]:
    return {"type": "invocation", "environment": environment, "at_ms": at_ms, "cold": cold}


GOOD = [served("a", 10), started("a", 11), served("b", 20), started("b", 20.5)]


def test_environments_started_for_their_request_pass() -> None:
    check_all_cold(GOOD, 2)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (GOOD, 3),
        ([*GOOD, served("b", 30, cold=False)], 2),
        ([*GOOD, served("b", 30, cold=False)], 3),
        ([started("a", 5), served("a", 10)], 1),
        ([served("a", 10)], 1),
    ],
    ids=["one missing", "one warm too many", "one warm", "started ahead of its request", "started before the run"],
)
def test_anything_else_raises(records: list[dict[str, Any]], expected: int) -> None:
    with pytest.raises(RuntimeError, match="should be"):
        check_all_cold(records, expected)
