"""Marking a module's statements changes nothing but that the marks are called."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GUEST = Path(__file__).parents[3] / "src" / "preheat" / "guest"

SOURCES = {
    "empty": "",
    "comment": "# nothing\n",
    "docstring": '"""Doc."""\nx = 1\n',
    "late string": "x = 1\n'''not a docstring'''\n",
    "only late": "1\n'''not one either'''\n",
    "future": '"""Doc."""\nfrom __future__ import annotations\ndef f(x: Gone): ...\nhints = f.__annotations__\n',
    "annotated": "x: int = 3\ny: 'later'\n",
    "decorated": "def d(f):\n    return f()\n\n@d\ndef x():\n    return 5\n\n@d\nclass C(int):\n    pass\n",
    "blocks": "try:\n    import nowhere_at_all\nexcept ImportError:\n    x = 'caught'\nelse:\n    x = 'found'\n",
    "comprehension": "x = [i * j for i in range(3) for j in range(i)]; y = 2; z = lambda: y\nw = z()\n",
    "global": "def f():\n    global x\n    x = 9\nf()\ndel f\n",
    "walrus": "if (x := 4) > 3:\n    y = x\nwhile x:\n    x -= 1\n",
    "encoded": "# -*- coding: latin-1 -*-\nx = 'é'\n",
}


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(GUEST))
    monkeypatch.delitem(sys.modules, "preheat_profile", raising=False)
    return importlib.import_module("preheat_profile")


def run(code: Any, **names: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "module", **names}
    exec(code, namespace)
    for name in ("__builtins__", *names):
        namespace.pop(name)
    return {name: value for name, value in namespace.items() if not callable(value)}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_module_is_the_same(watcher: ModuleType, source: str) -> None:
    data = source.encode("latin-1")
    code = compile(data, "module.py", "exec", dont_inherit=True)
    lines: list[int] = []
    marked = watcher.marked(data, "module.py", code)
    assert run(marked, **{watcher.MARK: lines.append}) == run(code)
    assert marked.co_filename == "module.py"
    assert lines[-1:] in ([], [0])


def test_marks_name_each_statement_before_it_runs(watcher: ModuleType) -> None:
    source = b'"""Doc."""\nfrom __future__ import annotations\nimport os\n\n@seen\ndef f(): ...\nseen(7)\n'
    seen: list[Any] = []
    code = compile(source, "module.py", "exec", dont_inherit=True)
    run(watcher.marked(source, "module.py", code), **{watcher.MARK: seen.append, "seen": seen.append})
    assert [item if isinstance(item, int) else "f" for item in seen] == [3, 5, "f", 7, 7, 0]


def test_the_frame_is_as_large_as_before(watcher: ModuleType) -> None:
    """A larger or smaller one would move every frame above it (preheat_profile's docstring)."""
    source = b"x = f(1, (2, [3, (4, [5, (6, [y])])]))\n"
    code = compile(source, "module.py", "exec", dont_inherit=True)
    assert watcher.marked(source, "module.py", code).co_stacksize == code.co_stacksize


def test_errors_keep_their_lines(watcher: ModuleType) -> None:
    source = b"import os\n\nx = [\n    1 / 0,\n]\n"
    code = watcher.marked(source, "module.py", compile(source, "module.py", "exec"))
    with pytest.raises(ZeroDivisionError) as error:
        exec(code, {watcher.MARK: lambda line: None})
    assert traceback.extract_tb(error.value.__traceback__)[-1].lineno == 4
