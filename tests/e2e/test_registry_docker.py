"""Docker itself, a real engine: images built with and without it go through the registry and run, and the local
build, push and run need none of it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cloud import Cloud, ask, clean_environment, eventually, preheat
from registry_tools import Docker, Skopeo, host, password, run

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"public.ecr.aws/lambda/python:{PYTHON}"
HANDLER = """
import json, os, sys

import helper


def lambda_handler(event, context):
    if event.get("exit"):
        os._exit(3)
    if event.get("raise"):
        raise ValueError(event["raise"])
    return {"event": event, "id": context.aws_request_id, "helper": helper.__file__, "python": sys.version_info[:2]}
"""
DOCKERFILE = f"""
FROM {BASE}
COPY packages /packages
RUN pip install --no-cache-dir --no-index --no-build-isolation --no-deps /packages/helper
COPY lambda_function.py ${{LAMBDA_TASK_ROOT}}/
CMD ["lambda_function.lambda_handler"]
"""
pytestmark = pytest.mark.timeout(700)
"""The first build makes the base image, which takes AWS's runtime client from the package index."""
INVOKE = "/2015-03-31/functions/function/invocations"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a package of its own, so that pip needs no index."""
    root = tmp_path_factory.mktemp("project")
    package = root / "packages/helper"
    package.mkdir(parents=True)
    (package / "pyproject.toml").write_text(
        '[project]\nname = "helper"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(BACKEND)
    (root / "lambda_function.py").write_text(HANDLER)
    (root / "Dockerfile").write_text(DOCKERFILE)
    return root


BACKEND = """
import zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "helper-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("helper.py", "installed = True\\n")
        wheel.writestr("helper-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: helper\\nVersion: 1\\n")
        wheel.writestr("helper-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("helper-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture(scope="module")
def built(context: Path, tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> Path:
    """A data directory in which `preheat build` has made iris_image."""
    data_dir = tmp_path_factory.mktemp("build") / "data"
    lend_base(data_dir)
    done = preheat("build", str(context), "-t", "iris_image", "--data-dir", str(data_dir), "--json", timeout_s=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layout"] == str(data_dir / "images")
    return data_dir


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    engine = Docker(tmp_path_factory.mktemp("d"))
    yield engine
    engine.stop()


def test_the_same_directory_builds_the_same_image(context: Path, built: Path, tmp_path: Path) -> None:
    again = preheat("build", str(context), "-t", "again:v2", "--data-dir", str(built), "--json")
    assert "pip install --no-index --no-build-isolation --no-deps /packages/helper: cached" in again.stderr
    copy = tmp_path / "elsewhere"
    shutil.copytree(context, copy)
    elsewhere = preheat("build", str(copy), "-t", "other", "--data-dir", str(built), "--quiet")
    index = json.loads((built / "images/index.json").read_text())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index}
    digest = json.loads(again.stdout)["digest"]
    assert names["iris_image:latest"] == names["again:v2"] == names["other:latest"] == digest
    assert (elsewhere.stdout.strip(), elsewhere.stderr) == (digest, "")


def test_skopeo_and_umoci_read_what_was_built(built: Path, tmp_path: Path) -> None:
    facts = json.loads(run("skopeo", "inspect", "--config", f"oci:{built}/images:iris_image:latest").stdout)
    assert facts["os"] == "linux"
    assert facts["config"]["Entrypoint"] == ["/lambda-entrypoint.sh"]
    assert facts["config"]["Cmd"] == ["lambda_function.lambda_handler"]
    run("skopeo", "copy", f"oci:{built}/images:iris_image:latest", f"oci:{tmp_path}/copy:one")
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/copy:one", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle/rootfs/var/task/lambda_function.py").read_text() == HANDLER


def test_preheat_push_creates_pushes_and_says_what_is_missing(cloud: Cloud, built: Path) -> None:
    common = ["--data-dir", str(built), "--endpoint-url", cloud.url]
    refused = preheat("push", "iris_image", "pushed:v1", *common)
    assert refused.returncode == 254
    assert "does not exist" in refused.stderr
    assert "--create" in refused.stderr
    done = preheat("push", "iris_image", "pushed:v1", "--create", "--json", *common)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["image_uri"] == f"{host(cloud)}/pushed:v1"
    assert Skopeo(cloud).inspect("pushed:v1")["Digest"] == facts["digest"]
    again = preheat("push", "iris_image", f"{host(cloud)}/pushed:v2", *common)
    assert "there already" in again.stderr
    assert "pushing" not in again.stderr
    assert preheat("push", "nothing", *common).returncode == 255


def test_an_image_of_the_registry_is_a_base(cloud: Cloud, built: Path, tmp_path: Path) -> None:
    common = ["--data-dir", str(built), "--endpoint-url", cloud.url]
    assert preheat("push", "iris_image", "base:v1", "--create", *common).returncode == 0
    (tmp_path / "Dockerfile").write_text(f'FROM {host(cloud)}/base:v1\nENV A=b\nCMD ["other.handler"]\n')
    own = tmp_path / "data"
    done = preheat("build", str(tmp_path), "-t", "derived", "--data-dir", str(own))
    assert done.returncode == 0, done.stderr
    config = json.loads(run("skopeo", "inspect", "--config", f"oci:{own}/images:derived:latest").stdout)["config"]
    assert "A=b" in config["Env"]
    assert config["Cmd"] == ["other.handler"]


def test_a_build_that_cannot_be_done_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\n\nRUN yum install -y gcc\n")
    done = preheat("build", str(tmp_path), "-t", "x", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 255
    assert "line 3: RUN yum install -y gcc" in done.stderr
    assert "docker build" in done.stderr


def test_docker_runs_what_was_built_without_it(cloud: Cloud, built: Path, docker: Docker) -> None:
    common = ["--data-dir", str(built), "--endpoint-url", cloud.url]
    assert preheat("push", "iris_image", "run:v1", "--create", *common).returncode == 0
    image = f"{host(cloud)}/run:v1"
    refused = docker("pull", image, check=False)
    assert "no basic auth credentials" in refused.stderr
    docker("login", "--username", "AWS", "--password", password(cloud), host(cloud))
    docker("pull", "--quiet", image)
    assert_serves(docker, image)


def test_the_seeds_commands_work_with_docker(cloud: Cloud, built: Path, context: Path, docker: Docker) -> None:
    """docker build and run; create-repository, login, tag and push, as the seed has them."""
    base = [
        "skopeo",
        "copy",
        "--dest-daemon-host",
        docker.socket,
        f"oci:{built}/images:base:v1",
        f"docker-daemon:{BASE}",
    ]
    (built.parent / "base").mkdir()
    (built.parent / "base/Dockerfile").write_text(f"FROM {BASE}\n")
    assert preheat("build", str(built.parent / "base"), "-t", "base:v1", "--data-dir", str(built)).returncode == 0
    run(*base)
    docker("build", "-t", "iris_image", str(context))
    assert_serves(docker, "iris_image")
    repository = cloud.aws("ecr", "create-repository", "--repository-name", "iris")["repository"]
    uri = repository["repositoryUri"]
    docker("login", "--username", "AWS", "--password", password(cloud), host(cloud))
    docker("tag", "iris_image:latest", f"{uri}:latest")
    docker("push", f"{uri}:latest")
    pushed = Skopeo(cloud).inspect("iris:latest")
    docker("rmi", "--force", "iris_image:latest", f"{uri}:latest")
    docker("pull", "--quiet", f"{uri}@{pushed['Digest']}")
    missing = f"{host(cloud)}/nowhere:latest"
    docker("tag", f"{uri}@{pushed['Digest']}", missing)
    assert (
        "name unknown: The repository with name 'nowhere' does not exist" in docker("push", missing, check=False).stderr
    )


def assert_serves(docker: Docker, image: str) -> None:
    """`docker run -p 8080:8080`, then the requests that people send; the port is any free one."""
    container = docker("run", "--detach", "--publish", "127.0.0.1::8080", image).stdout.strip()
    try:
        address = docker("port", container, "8080/tcp").stdout.split()[0]
        url = f"http://{address}{INVOKE}"
        first = eventually(lambda: _invoke(url, {"number": 1}))
        assert first["event"] == {"number": 1}
        assert first["helper"].startswith(f"/var/lang/lib/python{PYTHON}/site-packages/")
        assert first["python"] == [int(part) for part in PYTHON.split(".")]
        many = [
            subprocess.Popen(
                ["curl", "-s", "-d", json.dumps({"number": number}), url],
                stdout=subprocess.PIPE,
                text=True,
                env=clean_environment(),
            )
            for number in range(20)
        ]
        answers = [json.loads(one.communicate(timeout=60)[0]) for one in many]
        assert sorted(answer["event"]["number"] for answer in answers) == list(range(20))
        assert _invoke(url, {"raise": "wrong"})["errorType"] == "ValueError"
        assert "exit status 3" in _invoke(url, {"exit": 1})["errorMessage"]
        assert _invoke(url, {"number": 2})["event"] == {"number": 2}
        logs = docker("logs", container).stdout
        assert f"START RequestId: {first['id']} Version: $LATEST" in logs
        assert logs.count("Init Duration") == 2
    finally:
        docker("rm", "--force", container)


def _invoke(url: str, event: dict[str, object]) -> dict[str, object] | None:
    """None while nothing listens yet."""
    try:
        return dict(ask(url, json.dumps(event).encode()).json())
    except OSError:
        return None


def test_the_architecture_is_this_machines(built: Path) -> None:
    facts = json.loads(run("skopeo", "inspect", "--config", f"oci:{built}/images:iris_image:latest").stdout)
    assert facts["architecture"] == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
