"""A small function, profiled whole: what is measured, what is used, what each import costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from profile_functions import FILES, program_of

from preheat.kernel.errors import PreheatError
from preheat.profile import launch, study, tree
from preheat.profile.launch import Program
from preheat.profile.study import Profile, profile
from preheat.profile.tree import Node

Function = Callable[[Mapping[str, str]], Program]


def run(program: Program, event: object = None, **options: int) -> Profile:
    payload = json.dumps(event or {"b": 1, "a": 2}).encode()
    return profile(program, payload, **{"invocations": 2, "repeat": 2, **options}, say=lambda line: None)


def node(found: Profile | Node, name: str, kind: str = "import") -> Node:
    root = found.root if isinstance(found, Profile) else found
    (only,) = [node for node in root.walk() if (node.kind, node.name) == (kind, name)]
    return only


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, runtime_dir: Path) -> Profile:
    return run(program_of(tmp_path_factory.mktemp("small"), FILES, runtime_dir))


def test_shares_add_up_to_the_whole(found: Profile) -> None:
    assert found.root.ms == pytest.approx(sum(node.self_ms for node in found.root.walk()))
    assert found.root.ms == pytest.approx(study.mean_of_quiet_half(found.watched_ms))
    assert [phase.name for phase in found.root.children] == ["process", "runtime", "handler", "collector"]
    assert all(phase.ms > 0 for phase in found.root.children[:3])


def test_time_memory_and_files_are_where_they_belong(found: Profile) -> None:
    heavy, inner = node(found, "heavy"), node(found, "heavy.inner")
    assert heavy.self_ms >= 30
    assert inner.self_ms >= 20
    assert heavy.self_ms + inner.ms <= heavy.ms
    assert heavy.ms >= 60  # with heavy.inner and shared, which it was the first to import
    assert inner in heavy.children
    memory = [item for item in found.root.walk() if item.kind == "statement" and item.self_memory > 20 << 20]
    assert [item.line for item in memory] == [14]
    (load,) = [item for item in found.root.walk() if item.kind == "statement" and item.line == 13]
    source = found.program.code_dir / "needed" / "tool.py"
    assert load.self_opened == 1
    assert load.self_opened_bytes == source.stat().st_size
    assert any(path == str(source) for path, _, _ in found.files)
    assert found.resident_bytes > 24 << 20


def test_statements_carry_their_lines_and_a_missing_module_is_said(found: Profile) -> None:
    module = node(found, "lambda_function")
    assert [child.line for child in module.children if child.kind == "statement"][:4] == [6, 7, 8, 13]
    assert node(found, "nowhere_to_be_found").failed
    assert not node(found, "shared").failed


def test_a_package_stands_before_what_is_in_it(found: Profile) -> None:
    (statement,) = [item for item in found.root.walk() if item.kind == "statement" and item.line == 7]
    assert [child.name for child in statement.children] == ["needed", "needed.tool"]


def test_use_is_seen(found: Profile) -> None:
    assert node(found, "needed.tool").used
    assert node(found, "needed").used  # its package
    assert node(found, "heavy").used is False
    assert node(found, "heavy.inner").used is False


def test_what_nothing_used_is_named_with_what_it_costs_alone(found: Profile) -> None:
    costs = {row.module: row for row in found.costs.unused}
    assert costs.keys() == {"heavy", "shared", "waste"}
    assert list(costs["heavy"].cost.modules) == ["heavy", "heavy.inner"]  # shared is needed.tool's as well
    assert costs["heavy"].cost.ms == pytest.approx(node(found, "heavy").self_ms + node(found, "heavy.inner").self_ms)
    (place,) = costs["heavy"].places
    assert (place.file, place.line, place.text) == ("lambda_function.py", 6, "import heavy")
    assert {place.file for place in costs["shared"].places} == {"heavy/__init__.py", "needed/tool.py"}


def test_each_own_statement_is_told_what_running_it_later_would_do(found: Profile) -> None:
    rows = {(row.place.file, row.place.line): row for row in found.costs.statements}
    assert rows["lambda_function.py", 6].used == "nothing"
    assert rows["lambda_function.py", 7].used == "init"  # line 13 calls it
    assert list(rows["lambda_function.py", 7].cost.modules) == ["needed", "needed.tool", "waste"]
    assert rows["needed/tool.py", 5].used == "nothing"
    assert all(row.is_import for row in rows.values())


def test_the_sum_agrees_with_init_unwatched(function: Function) -> None:
    """The watcher's own work is not in the sum: most of this init is a sleep, which takes the same in both."""
    program = function({"lambda_function.py": "import time\ntime.sleep(0.5)\ndef lambda_handler(e, c): ...\n"})
    found = run(program)
    assert found.init_ms >= 500
    assert found.root.ms >= 500
    assert abs(found.difference_percent) < 15


def test_errors_of_invocations_are_warned_of(function: Function) -> None:
    program = function(FILES)
    (warning,) = [line for line in run(program, {"fail": "no"}).warnings if "invocations failed" in line]
    assert "ValueError" in warning
    assert any("2 of 2 invocations failed" in line for line in run(program, {"status": 400}).warnings)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import missing_module_x\n", "Unable to import module 'lambda_function': No module named 'missing_module_x'"),
        ("def lambda_handler(:\n", "Syntax error in module 'lambda_function'"),
        ("raise RuntimeError('too cold')\n", "RuntimeError: too cold"),
        (
            "import os, sys\nprint('bye'); sys.stdout.flush()\nos._exit(3)\n",
            "process ended with exit status 3: bye",
        ),
    ],
)
def test_a_failing_init_is_told_in_the_functions_words(function: Function, source: str, reason: str) -> None:
    program = function({"lambda_function.py": source})
    with pytest.raises(PreheatError, match="function") as plain:
        launch.measure(program)
    assert reason in str(plain.value)


def test_watching_a_failing_init_says_the_same(function: Function, tmp_path: Path) -> None:
    program = function({"lambda_function.py": "import heavy\n", "heavy.py": "1 / 0\n"})
    watcher = launch.prepare(program.guest_dir, tmp_path)
    with pytest.raises(PreheatError, match="ZeroDivisionError: division by zero"):
        launch.watch(program, watcher)


def test_nothing_of_a_start_is_left_behind(function: Function) -> None:
    program = function({"lambda_function.py": "def lambda_handler(e, c): ...\n"})
    launch.measure(program)
    needle = str(program.code_dir).encode()
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if needle in readable(path)]


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_handler_in_a_folder_is_found(function: Function, tmp_path: Path) -> None:
    program = replace(function({"app/main.py": "import shared\ndef f(e, c): ...\n", **FILES}), handler="app/main.f")
    watched = launch.watch(program, launch.prepare(program.guest_dir, tmp_path))
    root = tree.build(watched)
    assert [item.line for item in root.walk() if item.kind == "statement"] == [1, 2]
    assert node(root, "app.main").ms >= 10


def test_quiet_half_is_the_smaller_one() -> None:
    assert study.mean_of_quiet_half([9.0, 1.0, 2.0, 3.0]) == 1.5
    assert study.mean_of_quiet_half([5.0, 1.0, 3.0]) == 2.0


@pytest.mark.parametrize(
    ("answer", "refused"),
    [('{"statusCode": 404}', True), ('{"statusCode": 200}', False), ('{"statusCode": "x"}', False), ("no", False)],
)
def test_refusals_are_http_errors(answer: str, refused: bool) -> None:
    assert study.refuses(answer) is refused
