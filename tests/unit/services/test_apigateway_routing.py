"""Routing: a table of AWS's priorities, and the compiled tree against a slow, obvious oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.services.apigateway.routing import RouteTree

ROUTES = [
    ("/", "GET"),
    ("/test", "POST"),
    ("/test/any", "ANY"),
    ("/pets/{id}", "GET"),
    ("/pets/{id}/toys", "GET"),
    ("/pets/best", "GET"),
    ("/pets/best/{proxy+}", "PUT"),
    ("/{proxy+}", "OPTIONS"),
]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", ("/", {})),
        ("GET", "", ("/", {})),
        ("POST", "/test", ("/test", {})),
        ("POST", "/test/", ("/test", {})),
        ("POST", "//test", ("/test", {})),
        ("GET", "/test", None),
        ("OPTIONS", "/test", ("/{proxy+}", {"proxy": "test"})),
        ("OPTIONS", "/test/any", ("/test/any", {})),
        ("TRACE", "/test/any", None),
        ("GET", "/pets/best", ("/pets/best", {})),
        ("GET", "/pets/worst", ("/pets/{id}", {"id": "worst"})),
        ("GET", "/pets/best/toys", ("/pets/{id}/toys", {"id": "best"})),
        ("PUT", "/pets/best/a/b", ("/pets/best/{proxy+}", {"proxy": "a/b"})),
        ("PUT", "/pets/best", None),
        ("GET", "/pets//toys", None),
        ("OPTIONS", "/a//b/", ("/{proxy+}", {"proxy": "a//b"})),
        ("OPTIONS", "/", None),
        ("GET", "/pets/%7Bid%7D", ("/pets/{id}", {"id": "%7Bid%7D"})),
    ],
)
def test_priorities(method: str, path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    tree = RouteTree((route, verb, route) for route, verb in ROUTES)
    assert tree.find(path, method) == expected


PARTS = st.sampled_from(["a", "b", "{x}", "{y}", "{p+}"])
VERBS = st.sampled_from(["GET", "POST", "ANY"])


@st.composite
def apis(draw: st.DrawFn) -> dict[tuple[str, str], str]:
    """Routes that AWS would admit: nothing below a greedy part, one name for a variable among siblings."""
    routes = {}
    for _ in range(draw(st.integers(1, 8))):
        parts: list[str] = []
        for _ in range(draw(st.integers(0, 4))):
            parts.append(draw(PARTS))
            if parts[-1] == "{p+}":
                break
        named = [f"{{v{depth}}}" if part in ("{x}", "{y}") else part for depth, part in enumerate(parts)]
        path = "/" + "/".join(named)
        routes[path, draw(VERBS)] = path
    return routes


def _rank(path: str) -> tuple[int, ...]:
    """Literal 0, parameter 1, greedy 2, step by step: the smallest is the most specific."""
    return tuple(2 if part.endswith("+}") else 1 if part.startswith("{") else 0 for part in path.split("/")[1:])


def _matches(route: str, segments: list[str]) -> bool:
    parts = [part for part in route.split("/")[1:] if part]
    for at, part in enumerate(parts):
        if part.endswith("+}"):
            return at < len(segments)
        if at >= len(segments) or not (part.startswith("{") or part == segments[at]):
            return False
    return len(parts) == len(segments)


@given(apis(), st.lists(st.sampled_from(["a", "b", "c"]), max_size=5), st.sampled_from(["GET", "POST", "PUT"]))
def test_agrees_with_the_oracle(routes: dict[tuple[str, str], str], segments: list[str], method: str) -> None:
    candidates = [path for path, verb in routes if _matches(path, segments) and verb in (method, "ANY")]
    found = RouteTree((path, verb, route) for (path, verb), route in routes.items()).find(
        "/" + "/".join(segments), method
    )
    if not candidates:
        assert found is None
        return
    assert found is not None
    best, params = found
    assert best == min(candidates, key=_rank)
    for part, segment in zip(best.split("/")[1:], segments, strict=False):
        if part.startswith("{") and not part.endswith("+}"):
            assert params[part[1:-1]] == segment
    if "p" in params:
        assert params["p"] == "/".join(segments[best.count("/") - 1 :])


def test_a_long_path_is_no_deep_recursion() -> None:
    tree = RouteTree([("/{proxy+}", "GET", 1), ("/{a}/{b}", "GET", 2)])
    assert tree.find("/x" * 50_000, "GET") == (1, {"proxy": "/".join("x" * 50_000)})
