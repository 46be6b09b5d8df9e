"""A whole profile: starts with and without the watcher in turn, one start in detail, and what follows from them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preheat.profile import launch, tree
from preheat.profile.costs import Costs, weigh, with_packages
from preheat.profile.launch import Program, Watched
from preheat.profile.tree import Node

SCHEMA = 1
AGREEMENT_PERCENT = 5.0
AGREEMENT_MS = 2.0
"""The tree's sum and the unwatched init may differ by either before a warning says so (issue 5; and what a
machine's scheduler does to a short init)."""
_STEADY = 0.05
"""Spread of the quiet half, largest to smallest, beyond which more starts are made, up to three times as many."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Profile:
    """All that was found. `plain_ms` and `watched_ms` are init times in the order measured."""

    program: Program
    plain_ms: Sequence[float]
    watched_ms: Sequence[float]
    root: Node
    costs: Costs
    sources: Mapping[str, str]
    """Source text of the handler's module under its name, where there is one."""
    files: Sequence[tuple[str, int, int]]
    """(path, times opened, bytes), large first."""
    invocations: int
    answers: Sequence[str]
    resident_bytes: int
    warnings: Sequence[str]

    @property
    def init_ms(self) -> float:
        return mean_of_quiet_half(self.plain_ms)

    @property
    def difference_percent(self) -> float:
        return (self.root.ms / self.init_ms - 1) * 100


def profile(program: Program, event: bytes, *, invocations: int, repeat: int, say: Say) -> Profile:
    """Start the function repeatedly (the first start, with cold files, is not counted). Raises PreheatError
    with the function's own words where its init fails."""
    with tempfile.TemporaryDirectory(prefix="preheat-") as directory:
        watcher_dir = launch.prepare(program.guest_dir, Path(directory))
        launch.measure(program)
        launch.watch(program, watcher_dir)
        plain: list[float] = []
        trees: list[Node] = []
        while len(plain) < repeat or (len(plain) < 3 * repeat and not _steady(plain, [start.ms for start in trees])):
            say(f"start {2 * len(plain) + 1} and {2 * len(plain) + 2}")
            for watched in (False, True) if len(plain) % 2 else (True, False):
                if watched:
                    trees.append(tree.build(launch.watch(program, watcher_dir)))
                else:
                    plain.append(launch.measure(program).init_ms)
        say(f"one start in detail, and {invocations} invocations")
        detailed = launch.watch(program, watcher_dir, events=[event] * invocations)
    return _combine(program, plain, trees, detailed)


def _combine(program: Program, plain: Sequence[float], trees: Sequence[Node], detailed: Watched) -> Profile:
    root = tree.average(sorted(trees, key=lambda start: start.ms)[: _half(trees)])
    result = detailed.result
    details = tree.build(detailed)
    names = with_packages([*result["used"], *result["used_at_init"]])
    tree.add_details(root, details, {name: name in names for name in result["modules"]})
    files = sorted(((path, count, size) for path, (count, size) in result["files"].items()), key=lambda row: -row[2])
    found = Profile(
        program=program,
        plain_ms=plain,
        watched_ms=[start.ms for start in trees],
        root=root,
        costs=weigh(program, root, result),
        sources=_handler_source(program, result),
        files=files,
        invocations=len(detailed.answers),
        answers=[answer.decode("utf-8", errors="replace") for answer in detailed.answers],
        resident_bytes=result["marks"]["resident"],
        warnings=[],
    )
    return replace(found, warnings=_warnings(found, failed=detailed.errors))


def mean_of_quiet_half(values: Sequence[float]) -> float:
    """The mean of the smaller half: what else the machine does can only add to a start, never take away."""
    half = sorted(values)[: _half(values)]
    return sum(half) / len(half)


def _half(values: Sequence[Any]) -> int:
    return (len(values) + 1) // 2


def _steady(*measured: Sequence[float]) -> bool:
    return all(sorted(values)[_half(values) - 1] <= min(values) * (1 + _STEADY) for values in measured)


def _handler_source(program: Program, result: Mapping[str, Any]) -> dict[str, str]:
    origin = result["modules"].get(program.handler_module)
    if origin is None or not origin.endswith(".py"):
        return {}
    return {program.handler_module: Path(origin).read_text("utf-8", errors="replace")}


def _warnings(found: Profile, *, failed: int) -> list[str]:
    warnings = []
    apart_ms = abs(found.root.ms - found.init_ms)
    if apart_ms > AGREEMENT_MS and abs(found.difference_percent) > AGREEMENT_PERCENT:
        warnings.append(
            f"The tree's sum differs by {found.difference_percent:+.1f}% from init without the watcher: "
            "the machine was busy, or init differs from start to start. Measure again."
        )
    if not _steady(found.plain_ms, found.watched_ms):
        warnings.append("Starts took very different times: other work kept the machine busy. Measure again when idle.")
    refused = failed or sum(refuses(answer) for answer in found.answers)
    if refused:
        warnings.append(
            f"{refused} of {found.invocations} invocations failed, so what they used says little: {found.answers[0]}"
        )
    if not any(node.kind == "statement" for node in found.root.walk()):
        warnings.append("The handler's module has no source here: its statements are not shown.")
    return warnings


def refuses(answer: str) -> bool:
    """Whether a proxy answer is an HTTP error."""
    try:
        value = json.loads(answer)
    except ValueError:
        return False
    status = value.get("statusCode") if isinstance(value, dict) else None
    return isinstance(status, int) and status >= 400
