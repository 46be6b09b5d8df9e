"""Finding Docker's engine, what it refuses, and what its images and networks are asked for."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest
from docker_fake import engine_of

from preheat.kernel.errors import PreheatError
from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.sandbox.docker import DockerFactory, engine
from preheat.sandbox.docker_api import DockerApi, DockerError, socket_path
from preheat.sandbox.docker_container import Run, container_config, relay
from preheat.sandbox.docker_images import DockerImages, archive
from preheat.sandbox.docker_network import DockerNetwork
from preheat.sandbox.protocol import Launch

LINUX = {"OSType": "linux", "SecurityOptions": ["name=seccomp,profile=default"]}
IMAGE = ResolvedImage(
    uri="registry/iris@sha256:" + "a" * 64,
    digest="sha256:" + "a" * 64,
    architecture="arm64",
    config={"Cmd": ["app.handler"], "Env": ["A=b"], "Volumes": {"/data": {}}, "Healthcheck": {"Test": ["CMD", "x"]}},
    layers=("sha256:1", "sha256:2"),
    size_bytes=10,
)
PROGRAM = ImageProgram(layers=(), command=("/entry", "app.handler"), name="preheat:1")


def launch(output_fd: int = 1) -> Launch:
    return Launch("", "app.handler", "", 256, {}, output_fd, image=PROGRAM, tmp_mb=700)


def test_a_host_of_another_kind_is_refused() -> None:
    assert socket_path("unix:///run/x.sock") == Path("/run/x.sock")
    with pytest.raises(OSError, match=r"only an engine behind a Unix socket"):
        socket_path("tcp://10.0.0.1:2375")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"OSType": "windows"}, "runs windows containers"),
        ({"OSType": "linux", "SecurityOptions": ["name=rootless"]}, "is rootless"),
    ],
)
def test_an_engine_that_will_not_do_says_why(tmp_path: Path, facts: dict[str, Any], reason: str) -> None:
    with engine_of(tmp_path, lambda *_: (200, facts)) as address, pytest.raises(PreheatError, match=reason):
        engine(address)
    with pytest.raises(PreheatError, match="no Docker engine answers"):
        engine(address)  # it has gone, its socket has not


def test_calls_carry_the_engines_own_version_and_its_refusals_are_told(tmp_path: Path) -> None:
    asked: list[tuple[str, str, bytes]] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        asked.append((method, path, body))
        return (409, {"message": "it is paused"}) if method == "POST" else (200, LINUX)

    with engine_of(tmp_path, answer) as address:
        api = engine(address)
        with pytest.raises(DockerError, match="it is paused") as refused:
            api.call("POST", "/containers/x/kill", {"a": 1}, signal="KILL", note="a b")
    assert refused.value.status == 409
    assert asked == [
        ("GET", "/v1.41/info", b""),
        ("POST", "/v1.41/containers/x/kill?signal=KILL&note=a%20b", b'{"a": 1}'),
    ]


def test_an_archive_has_what_docker_load_reads_and_nothing_that_would_be_writable(tmp_path: Path) -> None:
    layer = tmp_path / "blob"
    layer.write_bytes(b"x" * 1000)
    data = b"".join(archive("preheat:tag", IMAGE, {"sha256:2": layer}))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest == {"Config": "config.json", "RepoTags": ["preheat:tag"], "Layers": ["1.tar", "2.tar"]}
    assert files["2.tar"] == b"x" * 1000
    assert "1.tar" not in files  # the engine has it
    configuration = json.loads(files["config.json"])
    assert (configuration["os"], configuration["architecture"]) == ("linux", "arm64")
    assert configuration["config"] == {"Cmd": ["app.handler"], "Env": ["A=b"]}
    assert configuration["rootfs"]["diff_ids"] == ["sha256:1", "sha256:2"]


class Images:
    """An engine's images: loads are kept by what they hold."""

    def __init__(self, incomplete: bool = True) -> None:
        self.incomplete = incomplete
        self.tags: dict[str, list[str]] = {"other:1": ["sha256:1"]}
        self.loads: list[list[str]] = []
        self.busy = True

    def __call__(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        path = path.partition("?")[0].removeprefix("/v1.41")
        if path == "/images/json":
            return 200, [{"Id": name, "RepoTags": [name]} for name in self.tags]
        if path == "/images/load":
            return self._load(body)
        name = path.removeprefix("/images/").removesuffix("/json")
        if name not in self.tags:
            return 404, {"message": "no such image"}
        if method == "DELETE":
            if self.busy:
                return 409, {"message": "a container uses it"}
            del self.tags[name]
            return 200, []
        return 200, {"RootFS": {"Layers": self.tags[name]}}

    def _load(self, body: bytes) -> tuple[int, Any]:
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            names = tar.getnames()
            self.loads.append(sorted(name for name in names if name.endswith(".tar")))
            if not self.incomplete and len(self.loads[-1]) < 2:
                return 500, {"message": "a layer is missing"}
            (manifest,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        self.tags[manifest["RepoTags"][0]] = list(IMAGE.layers)
        return 200, None


@pytest.mark.parametrize(("incomplete", "loads"), [(True, [["2.tar"]]), (False, [["2.tar"], ["1.tar", "2.tar"]])])
def test_an_image_is_loaded_once_without_the_layers_that_are_there(
    tmp_path: Path, incomplete: bool, loads: list[list[str]]
) -> None:
    had = Images(incomplete)
    blobs = [tmp_path / "one", tmp_path / "two"]
    for blob in blobs:
        blob.write_bytes(blob.name.encode())
    with engine_of(tmp_path, had) as address:
        api = DockerApi(socket_path(address))
        api.connect()
        images = DockerImages(api, "preheat-x")
        for _ in range(2):
            assert images.program(IMAGE, blobs).name == "preheat-x:" + "a" * 64
        assert had.loads == loads
        images.keep({IMAGE.digest})
        images.keep(())
        assert "preheat-x:" + "a" * 64 in had.tags  # a container uses it
        had.busy = False
        images.sweep()
        assert [name for name in had.tags if name.startswith("preheat-x")] == []


def test_a_refused_image_is_a_sentence(tmp_path: Path) -> None:
    def refuse(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("/images/json"):
            return 200, []
        return 404 if method == "GET" else 500, {"message": "disk full"}

    blob = tmp_path / "blob"
    blob.touch()
    with engine_of(tmp_path, refuse) as address:
        images = DockerImages(DockerApi(socket_path(address)), "preheat-x")
        with pytest.raises(PreheatError, match=r"Docker cannot load the image registry/iris@sha256:a+: disk full"):
            images.program(IMAGE, [blob, blob])


def test_a_bridge_that_is_not_on_this_machine_means_docker_desktop(tmp_path: Path) -> None:
    """192.0.2.0/24 is nobody's (RFC 5737): such an address cannot be listened at."""
    made: list[bool] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("/networks/create"):
            made.append(json.loads(body)["Internal"])
        return 200, {"IPAM": {"Config": [{"Gateway": "192.0.2.9"}]}}

    with engine_of(tmp_path, answer) as address:
        network = DockerNetwork(DockerApi(socket_path(address)), "preheat-x", {})
        place = network.place()
        with place.listener:
            assert not network.on_this_machine
            assert made == [True, False]  # containers of an internal network would not reach this machine at all
            port = place.listener.getsockname()[1]
            assert place.address == f"host.docker.internal:{port}"
            assert place.guests is None
        factory = DockerFactory(tmp_path / "env", DockerApi(socket_path(address)), on_host=True)
        assert not factory.on_host
        assert "virtual machine" in factory.limits()[-1]


def test_a_bridge_of_this_machine_lets_each_guest_to_its_own_place(tmp_path: Path) -> None:
    with engine_of(tmp_path, lambda *_: (200, {"IPAM": {"Config": [{"Gateway": "127.0.0.9/16"}]}})) as address:
        network = DockerNetwork(DockerApi(socket_path(address)), "preheat-x", {})
        one, two = network.place(), network.place()
        with one.listener, two.listener:
            network.admit(one.address, "127.0.0.20")
            network.admit("127.0.0.9:1", "127.0.0.21")  # its environment has gone
            assert one.address.startswith("127.0.0.9:")
            assert (one.guests, two.guests) == ({"127.0.0.20"}, set())


def test_a_container_is_locked_up_and_has_a_tmp_of_its_size() -> None:
    wanted = container_config("preheat:1", "e" * 32, launch(), "/run/pipe", {"preheat.data": "/d"})
    host = wanted["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"][0] == "no-new-privileges"
    assert json.loads(host["SecurityOpt"][1].removeprefix("seccomp="))["defaultAction"] == "SCMP_ACT_ERRNO"
    assert host["Memory"] == host["MemorySwap"] == 256 * 2**20
    assert "size=700m" in host["Tmpfs"]["/tmp"]
    assert host["Mounts"] == [{"Type": "bind", "Source": "/run/pipe", "Target": "/.preheat-output"}]
    assert wanted["Labels"] == {"preheat.data": "/d", "preheat.environment": "e" * 32}
    assert container_config("preheat:1", "e", launch(), "", {})["HostConfig"]["Mounts"] == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "refusal"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (139, -11, ""),
        (255, 255, ""),
        (127, 127, "/entry: no such file in the image, or it cannot be executed"),
    ],
)
async def test_an_execs_status_is_a_shells(status: int, code: int, refusal: str) -> None:
    codes: list[int] = []
    reading, writing = os.pipe()
    run = Run(launch(), codes.append, writing)
    run.ended(status)
    run.ended(137)
    assert (codes, run.refusal) == ([code], refusal)
    assert os.read(reading, 1) == b""  # it has closed its end
    os.close(reading)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_the_engines_frames_become_plain_output() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    run = Run(launch(), lambda code: None, writing)
    theirs.sendall(b"\x01\0\0\0\0\0\0\x04one\n" + b"\x02\0\0\0\0\0\0\x04two\n")
    theirs.close()
    relay(ours, run)
    assert os.read(reading, 100) == b"one\ntwo\n"
    run.close()
    os.close(reading)
