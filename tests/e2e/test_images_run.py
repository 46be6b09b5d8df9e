"""`preheat run`: an image or a directory at the emulator's address, as `docker run -p 8080:8080` serves it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e_cloud import BIN, ROOT, ask, clean_environment, eventually, preheat, remains

from preheat.sandbox.container import unusable

pytestmark = pytest.mark.timeout(300)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HANDLER = """
import json, os, time

def lambda_handler(event, context):
    time.sleep(event.get("sleep", 0))
    predictions = [number for number, _ in enumerate(event.get("values", ()))]
    print("asked for", len(predictions))
    body = {"predictions": predictions, "greeting": os.environ.get("GREETING"), "stream": context.log_stream_name}
    return {"statusCode": 200, "body": json.dumps(body)}
"""
INVOKE = "/2015-03-31/functions/function/invocations"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "lambda_function.py").write_text(HANDLER)
    return root


@pytest.fixture(scope="module")
def data(project: Path, tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> Iterator[Path]:
    """A data directory with the image `light`, which nothing may leave anything of."""
    directory = tmp_path_factory.mktemp("run") / "data"
    lend_base(directory)
    dockerfile = directory.parent / "Dockerfile"
    dockerfile.write_text(
        f"FROM public.ecr.aws/lambda/python:{PYTHON}\nENV GREETING=image\nCOPY lambda_function.py .\n"
        'CMD ["lambda_function.lambda_handler"]\n'
    )
    options = ["-f", str(dockerfile), "-t", "light", "--data-dir", str(directory)]
    built = preheat("build", str(project), *options, timeout_s=280)
    assert built.returncode == 0, built.stderr
    yield directory
    assert remains(directory) == []


@contextmanager
def served(what: str, data: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a `preheat run`, and its process; it must end well."""
    port = free_port()
    argv = [str(BIN / "preheat"), "run", what, "-p", port, "--data-dir", str(data), *options]
    with (data.parent / "stderr").open("w") as errors:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_environment())
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(f"serving {what} ("), (data.parent / "stderr").read_text()
        yield f"http://127.0.0.1:{port}{INVOKE}", process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def seeds_test(url: str) -> subprocess.CompletedProcess[str]:
    """The assignment's test.py, as it is."""
    argv = [sys.executable, str(ROOT / "examples/iris/test.py"), url]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=clean_environment(), timeout=60)


@pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)")
def test_an_image_is_served_many_requests_at_once_and_its_log_is_shown(data: Path) -> None:
    with served("light", data) as (url, process):
        done = seeds_test(url)
        assert done.returncode == 0, done.stderr
        with ThreadPoolExecutor(8) as pool:  # AWS's emulator dies at two
            answers = list(pool.map(lambda _: ask(url, b'{"sleep": 1.5}').json(), range(8)))
        bodies = [json.loads(answer["body"]) for answer in answers]
        assert len({body["stream"] for body in bodies}) > 1  # an environment each, as far as they overlap
        assert {body["greeting"] for body in bodies} == {"image"}
        assert process.stdout is not None
        shown: list[str] = []
        while not any(line.startswith("REPORT") for line in shown):
            shown.append(process.stdout.readline())
        assert "asked for 3\n" in shown
    again = preheat("run", "nothing", "--data-dir", str(data))
    assert again.returncode == 252
    assert "neither a directory nor a local image (there are: light:latest)" in again.stderr


def test_a_directory_without_a_dockerfile_is_served_as_it_is(project: Path, data: Path) -> None:
    runtime = ["--runtime", f"python{PYTHON}", "--quiet", "-e", "GREETING=hello"]
    with served(str(project), data, *runtime) as (url, _):
        assert seeds_test(url).returncode == 0
        assert json.loads(ask(url, b"{}").json()["body"])["greeting"] == "hello"


def test_what_cannot_be_served_ends_in_a_sentence(project: Path, data: Path) -> None:
    done = preheat("run", str(project), "-p", "0", "--data-dir", str(data))
    assert (done.returncode, "-p 0: give a port" in done.stderr) == (252, True)
    done = preheat("run", str(project), "--handler", "other.handler", "--data-dir", str(data), "-p", free_port())
    assert (done.returncode, "no other.py for handler" in done.stderr) == (252, True)
    eventually(lambda: remains(data, 0) == [])
