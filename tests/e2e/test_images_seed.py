"""The assignment's commands as they stand, against a real Docker engine: docker build, run and test.py; ECR; a function
from the image; API Gateway; curl. On base images made here and tagged with the name that the Dockerfile wants."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cloud import BIN, ROLE, ROOT, Cloud, eventually, preheat
from registry_tools import Docker, host, run

from preheat.sandbox.container import unusable

pytestmark = [
    pytest.mark.skipif(not Docker.can_start(), reason="a Docker engine takes root and Debian's docker.io"),
    pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)"),
    pytest.mark.timeout(700),
]
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
DOCKERFILE = """
FROM public.ecr.aws/lambda/python:{version}

COPY requirements.txt ./
COPY wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels -r requirements.txt

COPY lambda_function.py ${{LAMBDA_TASK_ROOT}}

CMD [ "lambda_function.lambda_handler" ]
"""
HANDLER = """
import json
import sys

import iris_model


def lambda_handler(event, context):
    body = json.loads(event["body"]) if "body" in event else event
    answer = {"predictions": [iris_model.predict(row) for row in body["values"]], "python": sys.version_info[:2]}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(answer)}
"""
MODEL = "def predict(row):\n    return 0 if row[2] < 2.5 else 1 if row[3] < 1.75 else 2\n"
"""Of petal length and width (Fisher 1936): enough for test.py's three flowers."""


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    engine = Docker(tmp_path_factory.mktemp("d"))
    yield engine
    engine.stop()


class Shell:
    """A shell of somebody who does the assignment: in the project's directory, with docker and the aws CLI."""

    def __init__(self, directory: Path, cloud: Cloud, docker: Docker) -> None:
        self.directory = directory
        self.environment = {
            **cloud.environment(),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "DOCKER_HOST": docker.socket,
            "DOCKER_CONFIG": str(directory / ".docker"),
            "DOCKER_BUILDKIT": "0",
        }

    def __call__(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()


@pytest.mark.parametrize("version", ["3.8", CURRENT])
def test_the_assignment_from_docker_build_to_curl(
    cloud: Cloud, docker: Docker, tmp_path: Path, lend_base: Callable[[Path], None], version: str
) -> None:
    project = tmp_path / "iris"
    make_project(project, version)
    lend_base(tmp_path / "data")
    make_base(version, docker, tmp_path)
    shell, suffix = Shell(project, cloud, docker), version.replace(".", "")

    # 3. Docker image
    shell("docker build -t iris_image .")
    run_and_test(shell)

    # 4. ECR; the registry's host is the local cloud's
    registry, repository = host(cloud), f"iris-registry-{suffix}"
    shell(f"aws ecr create-repository --repository-name {repository}")
    shell(f"aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin {registry}")
    image_id = shell("docker image ls --quiet iris_image")
    shell(f"docker tag {image_id} {registry}/{repository}:latest")
    shell(f"docker push {registry}/{repository}:latest")

    # 5. a function from the image, with LabRole
    name = f"iris-{suffix}"
    shell(
        f"aws lambda create-function --function-name {name} --package-type Image --timeout 30 "
        f"--code ImageUri={registry}/{repository}:latest --role {ROLE}"
    )
    shell(f"aws lambda wait function-active-v2 --function-name {name}")

    # 6. API Gateway and curl
    api = shell(f"aws apigateway create-rest-api --name {name} --query id --output text")
    root = shell(f"aws apigateway get-resources --rest-api-id {api} --query 'items[0].id' --output text")
    resource = shell(
        f"aws apigateway create-resource --rest-api-id {api} --parent-id {root} --path-part {name} "
        "--query id --output text"
    )
    on = f"--rest-api-id {api} --resource-id {resource} --http-method"
    shell(f"aws apigateway put-method {on} ANY --authorization-type NONE")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    shell(f"aws apigateway put-integration {on} ANY --type AWS_PROXY --integration-http-method POST --uri {uri}")
    source = f"arn:aws:execute-api:us-east-1:000000000000:{api}/*/*/{name}"
    shell(
        f"aws lambda add-permission --function-name {name} --statement-id api --action lambda:InvokeFunction "
        f"--principal apigateway.amazonaws.com --source-arn '{source}'"
    )
    shell(f"aws apigateway create-deployment --rest-api-id {api} --stage-name default")
    port = cloud.url.rpartition(":")[2]
    answer = json.loads(
        shell(
            'curl --silent --noproxy "*" --header "Content-Type: application/json" --request POST '
            '--data "{\\"values\\": [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 4.2, 1.5], [6.7, 3.0, 5.2, 2.3]]}" '
            f"http://{api}.execute-api.localhost:{port}/default/{name}"
        )
    )
    assert answer == {"predictions": [0, 1, 2], "python": [int(part) for part in version.split(".")]}
    url = f"{cloud.host(api)}/default/{name}"
    assert json.loads(shell(f"{sys.executable} {ROOT}/examples/iris/test.py {url}"))["predictions"] == [0, 1, 2]
    shell(f"aws lambda delete-function --function-name {name}")


def test_docker_builds_for_preheat_deploy_on_request(
    cloud: Cloud,
    docker: Docker,
    tmp_path: Path,
    lend_base: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tmp_path / "flowers"
    make_project(project, CURRENT)
    (project / "sample.json").write_text('{"values": [[6.7, 3.0, 5.2, 2.3]]}')
    lend_base(tmp_path / "data")
    make_base(CURRENT, docker, tmp_path)
    monkeypatch.setenv("DOCKER_HOST", docker.socket)
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    options = ["--image", "--builder", "docker", "--endpoint-url", cloud.url, "--data-dir", str(tmp_path / "own")]
    done = preheat("deploy", str(project), *options, "--json", timeout_s=200)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["image_uri"] == f"{host(cloud)}/flowers:latest"
    assert json.loads(record["sample"]["response"]["body"])["predictions"] == [2]
    assert not (tmp_path / "own/images").exists()  # nothing of ours has built


def make_project(project: Path, version: str) -> None:
    """What the assignment hands out, with a model small enough to need no package index."""
    (project / "wheels").mkdir(parents=True)
    (project / "Dockerfile").write_text(DOCKERFILE.format(version=version))
    (project / "lambda_function.py").write_text(HANDLER)
    (project / "requirements.txt").write_text("iris_model==1\n")
    with zipfile.ZipFile(project / "wheels/iris_model-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("iris_model.py", MODEL)
        wheel.writestr("iris_model-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: iris_model\nVersion: 1\n")
        wheel.writestr("iris_model-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("iris_model-1.dist-info/RECORD", "")


def make_base(version: str, docker: Docker, directory: Path) -> None:
    """AWS's base image cannot be pulled here: one made of this machine's interpreter takes its name."""
    (directory / "base").mkdir()
    (directory / "base/Dockerfile").write_text(f"FROM public.ecr.aws/lambda/python:{version}\n")
    data = directory / "data"
    built = preheat("build", str(directory / "base"), "-t", "base:v1", "--data-dir", str(data), timeout_s=200)
    assert built.returncode == 0, built.stderr
    name = f"public.ecr.aws/lambda/python:{version}"
    run("skopeo", "copy", "--dest-daemon-host", docker.socket, f"oci:{data}/images:base:v1", f"docker-daemon:{name}")


def run_and_test(shell: Shell) -> None:
    """`docker run -it --rm -p 8080:8080 iris_image:latest` in one terminal, `python test.py` in another."""
    ours, theirs = pty.openpty()
    command = ["docker", "run", "-it", "--rm", "-p", "8080:8080", "iris_image:latest"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=shell.environment)
    os.close(theirs)
    try:
        test = [sys.executable, str(ROOT / "examples/iris/test.py")]

        def passes() -> bool:
            assert process.poll() is None, os.read(ours, 4096).decode()
            return (
                subprocess.run(test, env=shell.environment, capture_output=True, timeout=90, check=False).returncode
                == 0
            )

        assert eventually(passes, 60)
        os.write(ours, b"\x03")  # Ctrl-C, as one ends it
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
