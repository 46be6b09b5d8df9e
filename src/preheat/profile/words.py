"""A profile in words: what nodes are called, and the account printed to a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from preheat.profile.costs import Place, Statement, Unused
from preheat.profile.study import Profile
from preheat.profile.tree import Node

PHASES = {
    "init": "init",
    "process": "start of the process and of Python",
    "runtime": "sandbox and AWS's runtime client",
    "handler": "the handler's module",
    "collector": "garbage collector",
}
_USES = {
    "init": "the module's own statements use it: it cannot run later",
    "invocation": "the first invocations use it: run later, it delays the first request",
    "nothing": "nothing used it: run later, it is saved",
}
_RUNS = "no import itself, it runs code that imports these: run later, it delays the first request that needs it"
TREE_SHARE = 0.02
"""Smaller shares of init are left out of the terminal's tree."""
MOST_ROWS = 12
_MIB = 1 << 20

METHOD = (
    "Times are means of the quiet half of the starts; the profiler takes two clock readings an import and its "
    "own work is left out. Memory, files and use come from one further start, watched closely.",
    "Used means: a function of the module was entered, one of its C functions was called from Python, or a name was "
    "read from it, by the handler module's own statements or by the first invocations; classes that an entered "
    "function names count too. What cannot be seen are constants copied by `from module import NAME` and what C "
    "code does by itself: try before you trust.",
    "What an import costs is the own time of the modules that would not be loaded without it; what others import "
    "as well is not counted. Imports made by other threads are not in the tree.",
)


def label(node: Node, profile: Profile) -> str:
    """What a node is called: a phase's description, a module's name, a statement's source line."""
    if node.kind == "phase":
        return PHASES[node.name]
    if node.kind == "statement":
        return f"line {node.line}: {source_line(profile.sources, node)}"
    return node.name + (" (not found)" if node.failed else "")


def source_line(sources: Mapping[str, str], node: Node) -> str:
    lines = sources.get(node.name, "").splitlines()
    return lines[node.line - 1].strip() if 0 < node.line <= len(lines) else ""


def milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def mib(value: int) -> str:
    return f"{value / _MIB:,.1f} MB"


def agreement(profile: Profile) -> str:
    """The measured init beside the tree's sum."""
    return (
        f"init {milliseconds(profile.init_ms)} as it is, {milliseconds(profile.root.ms)} as the sum of this profile "
        f"({profile.difference_percent:+.1f}%): quiet half of {len(profile.plain_ms)} starts each, taken in turn"
    )


def place(at: Place) -> str:
    return f"{at.file}:{at.line}"


def asked_at(found: Unused) -> str:
    """Where an unused module is imported: the first place and how many more there are."""
    if not found.places:
        return "C code"
    more = len(found.places) - 1
    return place(found.places[0]) + (f" and {more} more" if more else "")


def use_of(statement: Statement) -> str:
    """What running a statement later would do."""
    return _USES[statement.used] if statement.is_import else _RUNS


def account(profile: Profile) -> list[str]:
    """The lines for a terminal."""
    memory = [f"{mib(profile.resident_bytes)} resident after init"] if profile.resident_bytes else []
    return [
        agreement(profile),
        *memory,
        "",
        *_phases(profile),
        "",
        f"What takes {TREE_SHARE:.0%} of init or more (with all below it, by itself, memory)",
        *_tree(profile),
        "",
        *_unused(profile),
        "",
        *_statements(profile),
        *(f"warning: {warning}" for warning in profile.warnings),
    ]


def _phases(profile: Profile) -> Iterator[str]:
    total = profile.root.ms
    for phase in profile.root.children:
        yield f"{milliseconds(phase.ms):>10} {phase.ms / total:>6.1%}  {PHASES[phase.name]}"


def _tree(profile: Profile) -> Iterator[str]:
    least_ms = TREE_SHARE * profile.root.ms

    def lines(node: Node, depth: int) -> Iterator[str]:
        if node.ms < least_ms:
            return
        unused = "  (not used)" if node.used is False else ""
        amounts = f"{milliseconds(node.ms):>10} {milliseconds(node.self_ms):>10} {mib(node.memory):>9}"
        yield f"{amounts}  {'  ' * depth}{label(node, profile)}{unused}"
        for child in node.children:
            yield from lines(child, depth + 1)

    for phase in profile.root.children:
        yield from lines(phase, 0)


def _unused(profile: Profile) -> Sequence[str]:
    found = profile.costs.unused
    if not found:
        return [f"Everything imported is used by the first {profile.invocations} invocations"]
    rows = [
        f"{milliseconds(row.cost.ms):>10} {mib(row.cost.memory_bytes):>9} {len(row.cost.modules):>4} modules"
        f"  {row.module}  ({asked_at(row)})"
        for row in found[:MOST_ROWS]
    ]
    rest = found[MOST_ROWS:]
    if rest:
        rows.append(f"{milliseconds(sum(row.cost.ms for row in rest)):>10}  {len(rest)} more in profile.json")
    return [f"Imported, but not used by init or the first {profile.invocations} invocations", *rows]


def _statements(profile: Profile) -> Sequence[str]:
    found = profile.costs.statements
    if not found:
        return ["No statement of the function's own code brings in modules that would else not be loaded"]
    rows = [
        f"{milliseconds(row.cost.ms):>10} {mib(row.cost.memory_bytes):>9} {len(row.cost.modules):>4} modules"
        f"  {place(row.place)}  {row.place.text}\n{'':>12}{use_of(row)}"
        for row in found[:MOST_ROWS]
    ]
    return ["What each statement of the function's own code brings in alone", *rows]
