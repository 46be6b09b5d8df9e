"""Functions from images in containers, with the aws CLI: what they are told, what they may change, and what stays
behind when the server ends, however it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cloud import ROLE, Cloud, eventually, preheat, remains

from preheat.sandbox.container import unusable

pytestmark = pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HANDLER = """
import os, subprocess, sys, time
def first(event, context):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(event.get("sleep", 0))
    return {"by": "first", "directory": os.getcwd(), "environment": dict(os.environ), "argv": sys.argv}
def second(event, context):
    return {"by": "second", "directory": os.getcwd()}
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> Path:
    """A data directory with an image built in it: `light`."""
    root = tmp_path_factory.mktemp("light")
    lend_base(root / "data")
    (root / "app.py").write_text(HANDLER)
    text = f'FROM public.ecr.aws/lambda/python:{PYTHON}\nENV MODEL=iris\nCOPY app.py .\nCMD ["app.first"]\n'
    (root / "Dockerfile").write_text(text)
    built = preheat("build", str(root), "-t", "light", "--data-dir", str(root / "data"), timeout_s=115)
    assert built.returncode == 0, built.stderr
    return root / "data"


@pytest.fixture
def cloud(tmp_path: Path, layout: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data").start()
    pushed = preheat("push", "light", "--create", "--endpoint-url", made.url, "--data-dir", str(layout))
    assert pushed.returncode == 0, pushed.stderr
    yield made
    made.end()
    assert remains(made.data_dir) == []


def image(cloud: Cloud, tag: str = "latest") -> str:
    return f"{cloud.url.partition('://')[2]}/light:{tag}"


def create(cloud: Cloud, *options: str) -> dict[str, object]:
    facts = ["--role", ROLE, "--timeout", "20", "--package-type", "Image", "--code", f"ImageUri={image(cloud)}"]
    made: dict[str, object] = cloud.aws("lambda", "create-function", "--function-name", "light", *facts, *options)
    cloud.aws("lambda", "wait", "function-active-v2", "--function-name", "light")
    return made


def invoke(cloud: Cloud, event: object, tmp_path: Path) -> dict[str, object]:
    payload = ["--payload", json.dumps(event)]
    told = cloud.aws("lambda", "invoke", "--function-name", "light", *payload, str(tmp_path / "answer"))
    assert "FunctionError" not in told
    answer: dict[str, object] = json.loads((tmp_path / "answer").read_text())
    return answer


def test_an_image_runs_as_it_is_and_image_config_overrides_it(cloud: Cloud, tmp_path: Path) -> None:
    made = create(cloud, "--environment", "Variables={COLOUR=blue}")
    assert (made["State"], made["PackageType"], made["CodeSize"]) == ("Pending", "Image", 0)
    assert not {"Runtime", "Handler"} & made.keys()
    answer = invoke(cloud, {}, tmp_path)
    environment = answer["environment"]
    assert isinstance(environment, dict)
    assert (answer["by"], answer["directory"]) == ("first", "/var/task")
    assert environment["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{PYTHON}"  # set by the image's own start script
    assert (environment["MODEL"], environment["COLOUR"], environment["_HANDLER"]) == ("iris", "blue", "app.first")
    config = json.dumps({"Command": ["app.second"], "WorkingDirectory": "/var/task"})
    cloud.aws("lambda", "update-function-configuration", "--function-name", "light", "--image-config", config)
    cloud.aws("lambda", "wait", "function-updated-v2", "--function-name", "light")
    shown = cloud.aws("lambda", "get-function-configuration", "--function-name", "light")
    assert shown["ImageConfigResponse"]["ImageConfig"] == json.loads(config)
    assert invoke(cloud, {}, tmp_path)["by"] == "second"


def test_what_cannot_be_a_function_is_refused_in_a_sentence(cloud: Cloud) -> None:
    def refused(*options: str) -> str:
        facts = ["--function-name", "other", "--role", ROLE, "--package-type", "Image"]
        done = cloud.aws_raw("lambda", "create-function", *facts, *options)
        assert done.returncode != 0
        return done.stderr

    missing = image(cloud, "nowhere")
    assert f"Source image {missing} does not exist. Provide a valid source image." in refused(
        "--code", f"ImageUri={missing}"
    )
    other = "arm64" if os.uname().machine == "x86_64" else "x86_64"
    assert f"but the function's Architectures say {other}." in refused(
        "--code", f"ImageUri={image(cloud)}", "--architectures", other
    )


def test_a_server_killed_takes_its_containers_along_and_the_next_one_serves(cloud: Cloud, tmp_path: Path) -> None:
    create(cloud)
    invoke(cloud, {}, tmp_path)
    cloud.end(signal.SIGKILL)
    eventually(lambda: not [found for found in remains(cloud.data_dir, 0) if not found.startswith("control group")])
    cloud.start()
    assert invoke(cloud, {}, tmp_path)["by"] == "first"


def test_a_host_killed_is_replaced(cloud: Cloud, tmp_path: Path) -> None:
    """The process that starts containers: its containers end, the next request gets a new one."""
    create(cloud)
    invoke(cloud, {}, tmp_path)
    (host,) = hosts(cloud)
    os.kill(host, signal.SIGKILL)
    eventually(lambda: not [pid for pid in hosts(cloud) if pid == host])
    assert invoke(cloud, {}, tmp_path)["by"] == "first"
    assert hosts(cloud) != [host]


def test_a_server_that_uses_no_containers_removes_what_an_earlier_one_has_left(cloud: Cloud, tmp_path: Path) -> None:
    """Killed with its host, which would have ended them."""
    create(cloud)
    invoke(cloud, {}, tmp_path)
    (host,) = hosts(cloud)
    os.kill(cloud.pid, signal.SIGSTOP)
    os.kill(host, signal.SIGKILL)
    cloud.end(signal.SIGKILL)
    assert [found for found in remains(cloud.data_dir, 0) if found.startswith("process")]
    other = Cloud(cloud.data_dir, "--image-sandbox", "process").start()
    assert [found for found in remains(cloud.data_dir) if str(cloud.data_dir / "containers") in found] == []
    other.end()
    assert remains(cloud.data_dir) == []


def hosts(cloud: Cloud) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(b"container_host" in word for word in words) and os.fsencode(cloud.data_dir) in b" ".join(words):
                found.append(int(entry.name))
    return found
