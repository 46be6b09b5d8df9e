"""Functions from images without containers: a server of an ordinary user, on a machine without an engine."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cloud import ROLE, Cloud, preheat, remains
from registry_tools import Skopeo, run, umoci_image

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NOBODY = 65534
HANDLER = """
import os, sys
import installed, shared
def handler(event, context):
    return {"uid": os.getuid(), "python": "%d.%d" % sys.version_info[:2], "directory": os.getcwd(), "file": __file__,
            "installed": installed.__file__, "shared": shared.__file__, "environment": dict(os.environ)}
"""
DOCKERFILE = f"""
FROM public.ecr.aws/lambda/python:{PYTHON}
ENV MODEL=iris LD_LIBRARY_PATH=/usr/lib64:/var/task/lib
COPY installed.py /var/lang/lib/python{PYTHON}/site-packages/
COPY shared.py /opt/python/
WORKDIR /var/task/inner
COPY app.py .
CMD ["app.handler"]
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    for name, text in (("app.py", HANDLER), ("installed.py", ""), ("shared.py", ""), ("Dockerfile", DOCKERFILE)):
        (root / name).write_text(text)
    built = preheat("build", str(root), "-t", "plain", "--data-dir", str(root / "data"), timeout_s=115)
    assert built.returncode == 0, built.stderr
    return root / "data"


AS_NOBODY = f"""
if [ -n "$closed" ]; then
  mount --bind "$prefix" "$place/prefix"
  mount -t tmpfs -o mode=755 none "$closed"
  mkdir -p "$prefix"
  mount --bind "$place/prefix" "$prefix"
fi
exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups env HOME="$place" DOCKER_HOST=unix:///nowhere "$@"
"""
"""For an interpreter below a directory of root's own (a pyenv's): its files are shown to everybody, in the server's
mount namespace."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Nobody's, in a place that anybody reaches."""
    place = tempfile.TemporaryDirectory(prefix="preheat-nobody-")
    home, prefix = Path(place.name), Path(sys.base_prefix)
    for path in (home, home / "data", home / "prefix"):
        path.mkdir(exist_ok=True)
        os.chown(path, NOBODY, NOBODY)
    closed = [str(path) for path in reversed(prefix.parents) if not path.stat().st_mode & stat.S_IXOTH]
    variables = [f"place={home}", f"prefix={prefix}", f"closed={(closed or [''])[0]}"]
    within = ("env", *variables, "unshare", "--mount", "sh", "-ec", AS_NOBODY, "sh")
    made = Cloud(home / "data", within=within).start()
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []
    place.cleanup()


def create(cloud: Cloud, image: str, *options: str) -> dict[str, str]:
    """The function once it is no longer Pending."""
    name = image.partition(":")[0]
    uri = f"ImageUri={cloud.url.partition('://')[2]}/{image}"
    facts = ["--role", ROLE, "--package-type", "Image", "--code", uri]
    made = cloud.aws("lambda", "create-function", "--function-name", name, *facts, *options)
    assert made["State"] == "Pending"
    cloud.aws_raw("lambda", "wait", "function-active-v2", "--function-name", name)
    shown: dict[str, str] = cloud.aws("lambda", "get-function-configuration", "--function-name", name)
    return shown


def test_a_python_image_runs_from_its_files_by_this_machines_interpreter(
    cloud: Cloud, layout: Path, tmp_path: Path
) -> None:
    pushed = preheat("push", "plain", "--create", "--endpoint-url", cloud.url, "--data-dir", str(layout))
    assert pushed.returncode == 0, pushed.stderr
    assert create(cloud, "plain:latest", "--environment", "Variables={COLOUR=blue}")["State"] == "Active"
    told = cloud.aws("lambda", "invoke", "--function-name", "plain", str(tmp_path / "answer"))
    assert "FunctionError" not in told, (tmp_path / "answer").read_text()
    answer = json.loads((tmp_path / "answer").read_text())
    (root,) = (cloud.data_dir / "flat").iterdir()
    assert (answer["uid"], answer["python"]) == (NOBODY, PYTHON)
    assert answer["directory"] in ("/var/task/inner", f"{root}/var/task/inner")
    assert answer["file"] == f"{answer['directory']}/app.py"
    assert answer["installed"] == f"{root}/var/lang/lib/python{PYTHON}/site-packages/installed.py"
    assert answer["shared"] in ("/opt/python/shared.py", f"{root}/opt/python/shared.py")
    environment = answer["environment"]
    assert (environment["MODEL"], environment["COLOUR"], environment["_HANDLER"]) == ("iris", "blue", "app.handler")
    assert environment["LD_LIBRARY_PATH"] == f"{root}/var/task/lib"
    assert environment["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{PYTHON}"
    (started,) = cloud.records("environment_started", "plain")
    assert started["sandbox"] == "process"
    config = json.dumps({"EntryPoint": ["/usr/bin/python3", "app.py"]})
    cloud.aws("lambda", "update-function-configuration", "--function-name", "plain", "--image-config", config)
    cloud.aws_raw("lambda", "wait", "function-updated-v2", "--function-name", "plain")
    shown = cloud.aws("lambda", "get-function-configuration", "--function-name", "plain")
    assert shown["LastUpdateStatus"] == "Failed"
    assert "the image's command is /usr/bin/python3 app.py app.handler" in shown["LastUpdateStatusReason"]


def test_what_is_not_isolated_is_said_once(cloud: Cloud) -> None:
    said = (cloud.data_dir.parent / "data.stderr").read_text()
    assert said.count("functions from images run as plain processes") == 1
    assert "it takes root" in said


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("old", {"var/lang/bin/python3.4": b"", "var/runtime/bootstrap": b""}, "no interpreter for runtime python3.4"),
        ("foreign", {"usr/bin/app": b""}, "is not based on a Lambda Python image"),
    ],
)
def test_an_image_that_cannot_run_says_why_when_its_function_is_created(
    cloud: Cloud, tmp_path: Path, name: str, files: dict[str, bytes], reason: str
) -> None:
    layout, _, tag = umoci_image(tmp_path, files).rpartition(":")
    run("umoci", "config", "--image", f"{layout}:{tag}", "--config.cmd", "app.handler")
    cloud.aws("ecr", "create-repository", "--repository-name", name)
    Skopeo(cloud).push(f"{layout}:{tag}", f"{name}:latest")
    shown = create(cloud, f"{name}:latest")
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidImage")
    assert reason in shown["StateReason"]
