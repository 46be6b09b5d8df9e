"""Where a function's code is: compiled beside the build, in the local cloud's store, or downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.kernel.runtimes import TASK_ROOT

_LOCAL_CODE = re.compile(r"/_preheat/code/([0-9a-f]{64})\.zip$")
"""Where the local cloud's GetFunction points; its store keeps the tree of that id unpacked and compiled."""


def keep_compiled(build_dir: Path, cache_dir: Path, name: str, interpreter: Path, say: Callable[[str], None]) -> Path:
    """Move a fresh build to `cache_dir/profiles/<name>-<its content>` and compile it, as the local cloud does
    with deployed code; what was compiled before is used again. Returns the directory, absolute."""
    root = (cache_dir / "profiles").absolute()
    kept = root / f"{name}-{_listing(build_dir, interpreter)}"
    if not kept.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        for old in root.glob(f"{name}-{'[0-9a-f]' * 16}"):
            shutil.rmtree(old)
        say("compiling .pyc files")
        compile_all(build_dir, interpreter)
        build_dir.rename(kept)
    else:
        shutil.rmtree(build_dir)
    return kept


def compile_all(tree: Path, interpreter: Path) -> None:
    """Write every module's .pyc with the runtime's own interpreter, named as where the function runs; a module that
    does not compile is left alone."""
    command = [str(interpreter), "-I", "-m", "compileall", "-q", "-j", "0", "-d", TASK_ROOT, str(tree)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def of_function(
    answer: Mapping[str, Any], data_dir: Path, cache_dir: Path, interpreter: Path, say: Callable[[str], None]
) -> Path:
    """The code of GetFunction's answer: the local cloud's own tree where `data_dir` is its data directory, else
    downloaded, unpacked and compiled once. Raises PreheatError for what cannot be profiled or fetched."""
    configuration = answer["Configuration"]
    name = str(configuration["FunctionName"])
    if configuration.get("PackageType", "Zip") != "Zip":
        raise PreheatError(f"{name} is a container image: only functions from a zip or a directory are profiled", 255)
    if configuration.get("Layers"):
        raise PreheatError(f"{name} has layers: profiling a function with layers is not built", 255)
    location = str(answer["Code"]["Location"])
    found = _LOCAL_CODE.search(location)
    if found and (data_dir / "code" / found[1]).is_dir():
        return (data_dir / "code" / found[1]).absolute()
    digest = hashlib.sha256(str(configuration["CodeSha256"]).encode()).hexdigest()[:16]
    root = (cache_dir / "profiles").absolute()
    kept = root / f"{name}-{digest}"
    if not kept.is_dir():
        say(f"downloading {int(configuration.get('CodeSize', 0)) / 1e6:.1f} MB")
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="downloading-") as temporary:
            _download(location, Path(temporary) / "zip", Path(temporary) / "tree", direct=bool(found))
            compile_all(Path(temporary) / "tree", interpreter)
            (Path(temporary) / "tree").rename(kept)
    return kept


def _download(url: str, archive: Path, tree: Path, *, direct: bool) -> None:
    proxies = (urllib.request.ProxyHandler({}),) if direct else ()
    try:
        with urllib.request.build_opener(*proxies).open(url, timeout=60) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(tree)
    except (OSError, zipfile.BadZipFile) as error:
        raise PreheatError(f"the function's code cannot be fetched: {error}", 255) from error


def _listing(tree: Path, interpreter: Path) -> str:
    """16 hex digits that change with any file's name, size or time, and with the interpreter."""
    digest = hashlib.sha256(os.fsencode(interpreter))
    for folder, names, files in os.walk(tree):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            status = path.stat()
            row = (path.relative_to(tree).as_posix(), status.st_size, status.st_mtime_ns)
            digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def event_of(project_dir: Path | None, event: Path | None) -> bytes:
    """What the function is invoked with: a file as it is; else the project's sample.json as the body of a proxy
    event, as `preheat deploy` sends it; else {}. Raises PreheatError 252 for what is not JSON."""
    path = event or (project_dir / "sample.json" if project_dir else None)
    if path is None or (event is None and not path.is_file()):
        return b"{}"
    try:
        text = path.read_text("utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise PreheatError(f"{path}: not JSON: {error}", 252) from error
    return text.encode() if event else json.dumps(proxy_event(text)).encode()


def proxy_event(body: str) -> dict[str, Any]:
    """A REST API's proxy event (docs.aws.amazon.com/apigateway, "Input format of a Lambda function for proxy
    integration") for a POST of a JSON body."""
    headers = {"Content-Type": "application/json"}
    return {
        "resource": "/profile",
        "path": "/profile",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": "/profile", "httpMethod": "POST", "path": "/profile", "stage": "profile"},
        "body": body,
        "isBase64Encoded": False,
    }
