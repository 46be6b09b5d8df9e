"""The real clients of a registry: skopeo, umoci, Docker, and Debian's docker-registry to compare with."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from e2e_cloud import Cloud, clean_environment, eventually


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def run(*argv: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """A program with its output; fails the test when it fails, unless not to `check`."""
    environment = {**clean_environment(), **extra}
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0 or not check, f"{' '.join(argv)}: {done.stdout}\n{done.stderr}"
    return done


def password(cloud: Cloud) -> str:
    """`aws ecr get-login-password`."""
    done = cloud.aws_raw("ecr", "get-login-password")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def host(cloud: Cloud) -> str:
    return urlsplit(cloud.url).netloc


class Skopeo:
    """skopeo with the credentials of a cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._host = host(cloud)
        self._credentials = f"AWS:{password(cloud)}"

    def push(self, layout: str, name: str, *, check: bool = True, options: tuple[str, ...] = ()) -> str:
        """From "directory:tag" to "repository:tag"; returns what it says on standard error."""
        login = ["--dest-tls-verify=false", "--dest-creds", self._credentials]
        target = f"docker://{self._host}/{name}"
        return run("skopeo", "copy", *options, *login, f"oci:{layout}", target, check=check).stderr

    def pull(self, name: str, layout: str) -> None:
        login = ["--src-tls-verify=false", "--src-creds", self._credentials]
        run("skopeo", "copy", *login, f"docker://{self._host}/{name}", f"oci:{layout}")

    def inspect(self, name: str) -> Any:
        login = ["--tls-verify=false", "--creds", self._credentials]
        return json.loads(run("skopeo", "inspect", *login, f"docker://{self._host}/{name}").stdout)


def umoci_image(directory: Path, files: dict[str, bytes], tag: str = "latest") -> str:
    """An image of one layer, made by umoci; returns "layout:tag"."""
    root = directory / "files"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    layout = str(directory / "layout")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:{tag}")
    run("umoci", "insert", "--rootless", "--image", f"{layout}:{tag}", str(root), "/")
    return f"{layout}:{tag}"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def code(self) -> str | None:
        """The first error's code; None where there is no error body."""
        try:
            return str(json.loads(self.body)["errors"][0]["code"])
        except (ValueError, KeyError, TypeError):
            return None


class Wire:
    """The distribution API by hand, of any registry."""

    def __init__(self, address: str, login: str | None = None) -> None:
        self._address = address
        self._headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}

    def send(self, method: str, url: str, body: Any = None, **headers: str) -> Reply:
        """`url` may be a path or what a Location header said; keyword headers: content_type is Content-Type."""
        target = urlsplit(url)
        path = target.path + (f"?{target.query}" if target.query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self._address, timeout=100)
        try:
            connection.request(method, path, body, {**self._headers, **named})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def half_an_upload(self, url: str, data: bytes, announced: int) -> socket.socket:
        """A PATCH that stops after `data`; the connection stays open."""
        name, port = self._address.split(":")
        connection = socket.create_connection((name, int(port)), timeout=30)
        head = [f"PATCH {urlsplit(url).path} HTTP/1.1", f"Host: {self._address}", f"Content-Length: {announced}"]
        head += [f"{key}: {value}" for key, value in self._headers.items()]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + data)
        return connection


def with_query(location: str, query: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{query}"


@contextmanager
def docker_registry(directory: Path) -> Iterator[Wire]:
    """Debian's docker-registry on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{directory}/registry'}}, delete: {{enabled: true}}}}\n"
    )
    with (directory / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: _answers(address))
        yield Wire(address)
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return Wire(address).send("GET", "/v2/").status == 200
    except OSError:
        return False


_DOCKER0_LOCK = Path(tempfile.gettempdir(), "preheat-tests-docker0.lock")
"""Engines with the default bridge share it: one that starts takes it from under another's containers."""


class Docker:
    """A Docker Engine of the test's own, and the docker command on it."""

    @staticmethod
    def can_start() -> bool:
        """Whether this machine has what it takes: root and Debian's docker.io."""
        return os.geteuid() == 0 and shutil.which("dockerd") is not None

    def __init__(self, directory: Path, *more: str) -> None:
        """`more`: options of dockerd's."""
        assert os.geteuid() == 0, "a Docker engine can be started by root alone"
        self._directory = directory
        self._turn = _DOCKER0_LOCK.open("w") if "--bridge=none" not in more else None
        if self._turn is not None:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        self.socket = f"unix://{directory}/docker.sock"
        options = ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        places = ["--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"]
        places += ["--pidfile", f"{directory}/docker.pid", "-H", self.socket]
        self._log = directory / "dockerd.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(["dockerd", *places, *options, *more], stdout=log, stderr=log)
        try:
            eventually(self._ready, 60)
        except BaseException:
            self.stop()
            raise

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        places = {"DOCKER_HOST": self.socket, "DOCKER_CONFIG": f"{self._directory}/config", "DOCKER_BUILDKIT": "0"}
        return run("docker", *arguments, check=check, **places)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        for line in Path("/proc/mounts").read_text().splitlines():  # it leaves its network namespace mounted
            if line.split()[1].startswith(f"{self._directory}/"):
                run("umount", line.split()[1])
        if self._turn is not None:
            self._turn.close()

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        return self("version", check=False).returncode == 0
