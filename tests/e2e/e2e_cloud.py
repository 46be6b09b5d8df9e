"""A real local cloud for end-to-end tests: `preheat up` in a process of its own, and the tools people use on it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROLE = "arn:aws:iam::000000000000:role/LabRole"
_CGROUPS = Path("/sys/fs/cgroup")

HANDLER = """
import json, os, time

count = 0


def lambda_handler(event, context):
    global count
    count += 1
    body = json.loads(event["body"]) if isinstance(event, dict) and event.get("body") else event
    if not isinstance(body, dict):
        body = {}
    if body.get("raise"):
        raise ValueError(body["raise"])
    time.sleep(body.get("sleep", 0))
    print("said", body.get("say", "nothing"))
    answer = {"count": count, "pid": os.getpid(), "values": body.get("values")}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(answer)}
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Cloud:
    """`start` and the ways to end it; afterwards the same data directory and port may be started again."""

    def __init__(self, data_dir: Path, *options: str, within: tuple[str, ...] = ()) -> None:
        """`within`: a command that runs another, to start the server by."""
        self.data_dir = data_dir
        self._within = within
        self.url = ""
        self._port = "0"
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Cloud:
        """Returns once it says that it is up; the first start takes a free port, later ones the same again."""
        preheat = [*self._within, str(BIN / "preheat")]
        argv = [*preheat, "up", "--port", self._port, "--data-dir", str(self.data_dir), *self._options]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir.parent / f"{self.data_dir.name}.stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean_environment(), cwd=self.data_dir
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("preheat is up: http://"), line
        self.url = line.split()[3]
        self._port = self.url.rpartition(":")[2]
        return self

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once the process has ended."""
        assert self._process is not None
        self._process.communicate(timeout=60)
        return self._process.returncode

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; no harm when it has ended already."""
        if self._process is not None and self._process.poll() is None:
            self.send(number)
        return self.wait()

    # the tools

    def environment(self) -> dict[str, str]:
        """What `eval "$(preheat env)"` would give a shell, and nothing of this machine's own AWS settings."""
        return {
            **clean_environment(),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def aws_raw(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real aws CLI."""
        argv = [str(BIN / "aws"), *arguments]
        return subprocess.run(argv, env=self.environment(), capture_output=True, text=True, timeout=90, check=False)

    def aws(self, *arguments: str) -> Any:
        """The aws CLI's JSON, None where it prints nothing; an error of it fails the test."""
        done = self.aws_raw(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.Session("test", "test", region_name="us-east-1")
        config = Config(retries={"max_attempts": 0}, read_timeout=60)
        return session.client(service, endpoint_url=self.url, config=config)  # type: ignore[call-overload]

    def journal(self, function: str = "") -> list[dict[str, Any]]:
        answer = ask(f"{self.url}/_preheat/journal?function={function}")
        return [json.loads(line) for line in answer.body.splitlines()]

    def records(self, kind: str, function: str = "") -> list[dict[str, Any]]:
        return [record for record in self.journal(function) if record["type"] == kind]

    def create_function(self, name: str, source: str = HANDLER, **options: Any) -> str:
        """By boto3; returns its ARN once it is active."""
        client = self.client("lambda")
        facts = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler", "Timeout": 20}
        made = client.create_function(FunctionName=name, Code={"ZipFile": zipped(source)}, **{**facts, **options})
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return str(made["FunctionArn"])

    def create_api(self, name: str, function_arn: str) -> str:
        """A REST API with POST /<name> in front of a function, on stage default; returns its id."""
        client = self.client("apigateway")
        api = client.create_rest_api(name=name)["id"]
        (root,) = client.get_resources(restApiId=api)["items"]
        resource = client.create_resource(restApiId=api, parentId=root["id"], pathPart=name)["id"]
        client.put_method(restApiId=api, resourceId=resource, httpMethod="POST", authorizationType="NONE")
        client.put_integration(
            restApiId=api,
            resourceId=resource,
            httpMethod="POST",
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=integration_uri(function_arn),
        )
        client.create_deployment(restApiId=api, stageName="default")
        return str(api)

    def host(self, api: str) -> str:
        """What goes before /<stage>/<path>."""
        return f"{self.url}/_aws/execute-api/{api}"


def integration_uri(function_arn: str) -> str:
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function_arn}/invocations"


def clean_environment() -> dict[str, str]:
    """This process's environment without AWS settings, proxies and configuration files."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LOCUST_", "COV_"))}
    unwanted = {"http_proxy", "https_proxy", "all_proxy"}
    kept = {key: value for key, value in kept.items() if key.lower() not in unwanted}
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": ""}


def preheat(*arguments: str, cwd: Path | None = None, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
    """The command line, as a person runs it."""
    return subprocess.run(
        [str(BIN / "preheat"), *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def zipped(source: str, name: str = "lambda_function.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, source)
    return buffer.getvalue()


def ask(url: str, body: bytes | None = None, method: str | None = None) -> Answer:
    """One HTTP request by urllib; any status is an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        answer = opener.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())


def eventually(condition: Callable[[], Any], limit_s: float = 40.0) -> Any:
    """Poll, bounded, for what happens in another process; returns what `condition` gave at last."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come true: {value!r}"
        time.sleep(0.02)
    return value


def remains(data_dir: Path, limit_s: float = 30.0) -> list[str]:
    """What is left of a server that has ended, after the moment that the kernel takes to end killed processes."""
    deadline = time.monotonic() + limit_s
    while (found := left_over(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def freezer_states(environments: Path) -> set[str]:
    """Of the control groups of environments whose files lie there; version 2 says it otherwise."""
    digest = hashlib.sha256(os.fsencode(environments)).hexdigest()[:12]
    paths = list(_CGROUPS.glob(f"freezer/preheat-{digest}/*/freezer.state"))
    return {path.read_text().strip() for path in paths if path.exists()} if paths else {"FROZEN"}


def left_over(data_dir: Path) -> list[str]:
    """Processes started for a data directory, mounts below it and control groups of it that still exist."""
    needle = os.fsencode(data_dir)
    digests = [hashlib.sha256(os.fsencode(data_dir / name)).hexdigest()[:12] for name in ("environments", "containers")]
    groups = [f"preheat-{digest}".encode() for digest in digests]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if needle in told or any(group in (entry / "cgroup").read_bytes() for group in groups):
                    found.append(f"process {entry.name}: {(entry / 'cmdline').read_bytes()!r}")
            except OSError:
                continue  # it has just ended
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(data_dir) in line]
    for digest in digests:
        for pattern in (f"preheat-{digest}", f"*/preheat-{digest}"):
            found += [f"control group {path}" for path in _CGROUPS.glob(pattern)]
    return found
