from __future__ import annotations

import http.server
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.kernel.errors import PreheatError
from preheat.profile import code

PYTHON = Path(sys.executable)


def build(directory: Path, text: str = "x = 1\n") -> Path:
    directory.mkdir(parents=True)
    path = directory / "app.py"
    path.write_text(text)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return directory


def quiet(line: str) -> None:
    pass


def test_the_same_build_is_compiled_once(tmp_path: Path) -> None:
    said: list[str] = []
    first = code.keep_compiled(build(tmp_path / "b1"), tmp_path, "small", PYTHON, said.append)
    assert list(first.rglob("app.*.pyc"))
    stamp = next(first.rglob("app.*.pyc")).stat().st_mtime_ns
    again = code.keep_compiled(build(tmp_path / "b2"), tmp_path, "small", PYTHON, said.append)
    assert (again, next(again.rglob("app.*.pyc")).stat().st_mtime_ns) == (first, stamp)
    assert said == ["compiling .pyc files"]
    assert not (tmp_path / "b2").exists()


def test_another_build_replaces_the_old_one_of_its_name_only(tmp_path: Path) -> None:
    first = code.keep_compiled(build(tmp_path / "b1"), tmp_path, "small", PYTHON, quiet)
    other = code.keep_compiled(build(tmp_path / "b2"), tmp_path, "small-two", PYTHON, quiet)
    second = code.keep_compiled(build(tmp_path / "b3", "y = 22\n"), tmp_path, "small", PYTHON, quiet)
    assert (first.exists(), other.exists(), second.exists()) == (False, True, True)


def answer(location: str, **configuration: Any) -> dict[str, Any]:
    facts = {"FunctionName": "small", "CodeSha256": "abc=", "CodeSize": 5, "PackageType": "Zip", **configuration}
    return {"Configuration": facts, "Code": {"Location": location}}


def test_the_local_clouds_own_tree_is_used_in_place(tmp_path: Path) -> None:
    digest = "0" * 64
    tree = build(tmp_path / "data" / "code" / digest)
    found = answer(f"http://127.0.0.1:1/_preheat/code/{digest}.zip")
    assert code.of_function(found, tmp_path / "data", tmp_path / "cache", PYTHON, quiet) == tree


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pkg/app.py", "x = 1\n")

    class Store(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = buffer.getvalue() if self.path.endswith(".zip") else b"no zip"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_code_elsewhere_is_downloaded_once(tmp_path: Path, server: str) -> None:
    said: list[str] = []
    found = answer(f"{server}/_preheat/code/{'1' * 64}.zip")
    tree = code.of_function(found, tmp_path / "data", tmp_path / "cache", PYTHON, said.append)
    assert (tree / "pkg" / "app.py").read_text() == "x = 1\n"
    assert list(tree.rglob("*.pyc"))
    assert code.of_function(found, tmp_path / "data", tmp_path / "cache", PYTHON, said.append) == tree
    assert said == ["downloading 0.0 MB"]


def test_what_cannot_be_profiled_is_said(tmp_path: Path, server: str) -> None:
    cases = [
        (answer("x", PackageType="Image"), "container image"),
        (answer("x", Layers=[{"Arn": "a"}]), "layers"),
        (answer(f"{server}/damaged"), "cannot be fetched"),
    ]
    for found, reason in cases:
        with pytest.raises(PreheatError, match=reason):
            code.of_function(found, tmp_path, tmp_path, PYTHON, quiet)


def test_the_event_is_the_sample_as_a_request_or_a_file_as_it_is(tmp_path: Path) -> None:
    assert code.event_of(tmp_path, None) == b"{}"
    assert code.event_of(None, None) == b"{}"
    (tmp_path / "sample.json").write_text('{"values": [1]}')
    event = json.loads(code.event_of(tmp_path, None))
    assert (event["httpMethod"], json.loads(event["body"])) == ("POST", {"values": [1]})
    assert code.event_of(None, tmp_path / "sample.json") == b'{"values": [1]}'
    (tmp_path / "bad.json").write_text("{")
    for path in ("bad.json", "missing.json"):
        with pytest.raises(PreheatError, match=path) as error:
            code.event_of(tmp_path, tmp_path / path)
        assert error.value.exit_code == 252
