"""RUN: what is run, as whom and over what, and the layer that its changes become. The command itself is a function
here that writes into the upper directory; `tests/e2e/test_images_build.py` runs real ones."""

from __future__ import annotations

import os
import py_compile
import socket
import stat
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from layer_maker import Made, folder, gzipped, listing, tar

from preheat.kernel.build import BuildCommand, Say
from preheat.oci.builder import build
from preheat.oci.changes import changes, settle
from preheat.oci.digest import digest_of
from preheat.oci.dockerfile import DockerfileError
from preheat.oci.layers import Layer, LayerStore
from preheat.oci.layout import Layout
from preheat.oci.manifest import OCI_LAYER, Descriptor
from preheat.oci.pack import TIME_S, PackedLayer
from preheat.oci.plan import BaseImage, BuildPlan, BuildTools
from preheat.oci.tarstream import decompressed
from preheat.oci.tree import TreeError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="white-outs and owners take root")
Change = Callable[[Path], None]


@dataclass
class Recorder:
    """A `BuildRunner` that remembers its commands; `changes` are what each of them does to the upper directory."""

    changes: list[Change] = field(default_factory=list)
    commands: list[BuildCommand] = field(default_factory=list)
    failure: str = ""

    def run(self, command: BuildCommand, say: Say) -> Path:
        self.commands.append(command)
        if self.failure:
            raise RuntimeError(self.failure)
        upper = command.work / "upper"
        upper.mkdir()
        if len(self.commands) <= len(self.changes):
            self.changes[len(self.commands) - 1](upper)
        return upper


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root / "layout")
        self.layers = LayerStore(root / "unpacked", self.layout.blobs)
        self.context = root / "context"
        self.context.mkdir()
        self.runner = Recorder()
        self.said: list[str] = []
        self.base = self.image(
            {"Env": ["PATH=/bin", "KEPT=yes"], "WorkingDir": "/app"},
            folder("etc"),
            Made("etc/passwd", b"root:x:0:0::/root:/bin/sh\nann:x:501:502::/home/ann:/bin/sh\n"),
            Made("etc/group", b"staff:x:77:\nextra:x:88:bob,ann\n"),
            Made("old", b"old"),
            folder("dir"),
            Made("dir/below", b"below"),
        )

    def image(self, config: dict[str, Any], *entries: Made) -> BaseImage:
        plain = tar(*entries)
        blob = self.layout.blobs.put(gzipped(plain))
        descriptor = Descriptor(f"{OCI_LAYER}+gzip", blob, self.layout.blobs.size(blob) or 0)
        return BaseImage((PackedLayer(descriptor, digest_of(plain)),), config)

    def build(self, dockerfile: str, *, machine: dict[str, str] | None = None, **plan: Any) -> Descriptor:
        path = self.root / "Dockerfile"
        path.write_text(dockerfile)
        tools = BuildTools(
            self.layout,
            self.layers,
            lambda name: self.base,
            lambda version: Path(sys.executable),
            self.said.append,
            self.runner,
            machine=machine or {},
        )
        return build(BuildPlan(self.context, path, **plan), tools)

    def command(self, dockerfile: str, **more: Any) -> BuildCommand:
        self.build(dockerfile, **more)
        return self.runner.commands[-1]

    def flat(self, image: Descriptor) -> dict[str, str]:
        layers = self.layout.manifest(image).layers
        diff_ids = []
        for layer in layers:
            with self.layout.blobs.path(layer.digest).open("rb") as file:
                diff_ids.append(digest_of(decompressed(file).read()))
        return listing(self.layers.flat([Layer(d.digest, i) for d, i in zip(layers, diff_ids, strict=True)]))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("lines", "arguments"),
    [
        ("RUN make all", ("/bin/sh", "-c", "make all")),
        ("RUN make \\\n  # why\n  all", ("/bin/sh", "-c", "make   all")),
        ('RUN ["make", "$all"]', ("make", "$all")),
        ('SHELL ["/bin/bash", "-ec"]\nRUN make', ("/bin/bash", "-ec", "make")),
        ("RUN <<EOF\none $x\ntwo\nEOF", ("/bin/sh", "-c", "one $x\ntwo\n")),
        ("RUN <<-EOF\n\tone\n\tEOF", ("/bin/sh", "-c", "one\n")),
        ("RUN cat <<A <<B\na\nA\nb\nB", ("/bin/sh", "-c", "cat <<A <<B\na\nA\nb\nB\n")),
        ("RUN <<EOF\n#!/bin/python\nEOF", ("/dev/.preheat/script",)),
        ("RUN echo $((1<<2))", ("/bin/sh", "-c", "echo $((1<<2))")),
    ],
)
def test_both_forms_shells_and_here_documents(bench: Bench, lines: str, arguments: tuple[str, ...]) -> None:
    assert bench.command(f"FROM base\n{lines}").arguments == arguments


def test_a_command_has_the_images_variables_the_arguments_and_the_way_out(bench: Bench) -> None:
    bundle = bench.root / "certificates.pem"
    bundle.write_text("pem")
    machine = {"https_proxy": "http://p", "SSL_CERT_FILE": str(bundle), "PIP_INDEX_URL": "https://i", "SECRET": "x"}
    command = bench.command(
        "FROM base\nARG A=1\nARG UNSET\nENV B=2 A=3\nWORKDIR sub\nRUN x",
        machine=machine,
        build_args={"HTTP_PROXY": "http://q"},
    )
    environ = dict(command.environ)
    assert {name: environ[name] for name in ("PATH", "KEPT", "A", "B", "HOME")} == {
        "PATH": "/bin",
        "KEPT": "yes",
        "A": "3",
        "B": "2",
        "HOME": "/root",
    }
    assert (environ["https_proxy"], environ["HTTP_PROXY"], environ["PIP_INDEX_URL"]) == (
        "http://p",
        "http://q",
        "https://i",
    )
    assert not {"SECRET", "UNSET"} & environ.keys()
    (mount,) = command.mounts
    assert (mount.source, mount.target, mount.read_only) == (bundle, environ["SSL_CERT_FILE"], True)
    assert (command.working_dir, command.network) == ("/app/sub", True)


@pytest.mark.parametrize(
    ("user", "who"),
    [
        ("ann", (501, 502, (88,), "/home/ann")),
        ("ann:staff", (501, 77, (), "/home/ann")),
        ("501", (501, 502, (88,), "/home/ann")),
        ("9:10", (9, 10, (), "/")),
        ("root", (0, 0, (), "/root")),
    ],
)
def test_a_command_runs_as_the_images_user(bench: Bench, user: str, who: tuple[int, int, tuple[int, ...], str]) -> None:
    command = bench.command(f"FROM base\nUSER {user}\nRUN x")
    assert (command.uid, command.gid, command.groups, command.environ["HOME"]) == who


def test_mounts_and_networks_are_lent(bench: Bench) -> None:
    (bench.context / "list").write_text("a")
    command = bench.command(
        "FROM base\nRUN --network=none --mount=type=cache,target=/c --mount=type=bind,source=list,target=list x"
    )
    cache, lent = command.mounts
    assert (cache.target, cache.read_only) == ("/c", False)
    assert (lent.source, lent.target, lent.read_only) == (bench.context / "list", "/app/list", True)
    assert not command.network
    again = "FROM base\nRUN --mount=source=list,target=/l x"
    first = bench.build(again).digest
    (bench.context / "list").write_text("b")  # what is lent is part of what a layer is known by
    bench.build(again)
    assert len(bench.runner.commands) == 3
    assert bench.build(again).digest == first
    assert len(bench.runner.commands) == 3


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("RUN --mount=type=secret,id=x x", "use docker build"),
        ("RUN --mount=type=bind,source=../..,target=/x x", "not in the build context"),
        ("RUN --mount=type=cache x", "needs a target"),
        ("RUN --mount=type=cache,target=/x,colour=red x", "use docker build"),
        ("RUN --network=custom x", "use docker build"),
        ("USER nobody\nRUN x", "has no nobody"),
        ("RUN --security=insecure x", "use docker build"),
    ],
)
def test_what_a_run_cannot_have_is_refused_with_its_line(bench: Bench, lines: str, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as error:
        bench.build(f"FROM base\n{lines}")
    assert error.value.line == 2 + lines.count("\n")


def test_a_command_that_fails_names_its_line_and_leaves_nothing(bench: Bench) -> None:
    bench.runner.failure = "exit status 2: no such target"
    with pytest.raises(DockerfileError, match=r"line 3: RUN make: exit status 2: no such target"):
        bench.build("FROM base\n\nRUN make")
    assert [path.name for path in bench.layout.root.iterdir() if path.name.startswith(".build")] == []
    bench.runner.failure = ""
    bench.build("FROM base\n\nRUN make")
    assert len(bench.runner.commands) == 2  # nothing was remembered


def test_a_run_is_remembered_by_all_that_it_depends_on(bench: Bench) -> None:
    def ran(dockerfile: str, **plan: Any) -> bool:
        before = len(bench.runner.commands)
        bench.build(dockerfile, **plan)
        return len(bench.runner.commands) > before

    text = "FROM base\nARG A\nRUN x"
    assert ran(text, build_args={"A": "1"})
    assert not ran(text, build_args={"A": "1"})
    assert any(line == "RUN x: cached" for line in bench.said)
    assert ran(text, build_args={"A": "2"})
    assert not ran(text, build_args={"A": "1", "http_proxy": "p"})  # the way out is no input
    assert ran("FROM base\nARG A\nUSER ann\nRUN x", build_args={"A": "1"})
    assert ran("FROM base\nARG A\nWORKDIR /etc\nRUN x", build_args={"A": "1"})
    assert ran(text, build_args={"A": "1"}, cached=False)


@as_root
def test_what_a_run_changes_is_seen_by_what_follows_fresh_or_remembered(bench: Bench) -> None:
    (bench.context / "f").write_text("copied")

    def change(upper: Path) -> None:
        (upper / "made").mkdir()
        (upper / "link").symlink_to("made")
        os.mknod(upper / "old", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
        (upper / "dir").mkdir()
        (upper / "dir/new").write_text("new")
        os.setxattr(upper / "dir", "trusted.overlay.opaque", b"y")
        (upper / "etc").mkdir()
        (upper / "etc/passwd").write_text("eve:x:7:8::/:/bin/sh\n")

    bench.runner.changes = [change, lambda upper: (upper / "last").write_text("x") and None]
    text = (
        "FROM base AS one\nRUN x\nCOPY --chown=eve f /link/\nUSER eve\nRUN y\n"
        "FROM scratch\nCOPY --from=one / /all/\nFROM one AS two\nCOPY f /two"
    )
    first = bench.build(text, target="two")
    files = bench.flat(first)
    assert files["made/f"] == files["two"] == "copied"
    assert files["dir/new"] == "new"
    assert (files["link"], files["last"]) == ("->made", "x")
    assert not {"old", "dir/below"} & files.keys()
    second = bench.runner.commands[1]
    assert (second.uid, second.gid) == (7, 8)
    assert len(second.layers) == 3  # the base, the first RUN, the COPY
    assert bench.build(text, target="two").digest == first.digest
    assert len(bench.runner.commands) == 2
    del files["two"]
    other = bench.flat(bench.build(text.partition("FROM one AS")[0]))
    assert {path.removeprefix("all/"): what for path, what in other.items() if path != "all"} == files


def test_triggers_of_a_base_are_carried_out_once(bench: Bench) -> None:
    bench.base = bench.image({"OnBuild": ["ENV A=1", "RUN x $A"]}, folder("etc"))
    image = bench.build("FROM base\nENV B=2")
    assert bench.runner.commands[0].arguments[-1] == "x $A"
    config = bench.layout.manifest(image).config
    assert config is not None
    body = bench.layout.blobs.read(config.digest)
    assert b'"A=1"' in body
    assert b"OnBuild" not in body
    bench.base = bench.image({"OnBuild": ["EXPOSE"]}, folder("etc"))
    with pytest.raises(DockerfileError, match="line 1: ONBUILD EXPOSE"):
        bench.build("FROM base")


# from the upper directory to a layer


def packed(upper: Path) -> dict[str, tarfile.TarInfo]:
    import io

    from preheat.oci.blobs import BlobStore
    from preheat.oci.pack import pack

    blobs = BlobStore(upper.parent / "blobs", upper.parent / "blob-work")
    layer = pack(changes(upper), blobs)
    with tarfile.open(fileobj=io.BytesIO(blobs.read(layer.descriptor.digest)), mode="r:gz") as archive:
        return {member.name: member for member in archive}


@as_root
def test_changes_become_white_outs_links_owners_and_attributes(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "dir").mkdir(parents=True)
    os.setxattr(upper / "dir", "trusted.overlay.opaque", b"y")
    os.mknod(upper / "dir/gone", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    (upper / "a").write_text("x")
    (upper / "b").hardlink_to(upper / "a")
    (upper / "a").chmod(0o4755)
    os.chown(upper / "dir", 5, 6)
    os.mkfifo(upper / "pipe")
    os.setxattr(upper / "a", "user.kept", b"\xff\x00")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upper / "socket"))
    found = packed(upper)
    assert found.keys() == {"a", "b", "dir", "dir/.wh..wh..opq", "dir/.wh.gone", "pipe"}
    assert (found["a"].mode, found["b"].islnk(), found["b"].linkname) == (0o4755, True, "a")
    assert (found["dir"].uid, found["dir"].gid, found["pipe"].isfifo()) == (5, 6, True)
    assert found["a"].pax_headers["SCHILY.xattr.user.kept"].encode("utf-8", "surrogateescape") == b"\xff\x00"
    assert {member.mtime for member in found.values()} == {TIME_S}


@as_root
def test_a_device_node_is_refused(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    os.mknod(upper / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(TreeError, match="null is neither file"):
        packed(upper)


def test_bytecode_keeps_fitting_its_source_when_times_are_settled(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    for name in ("fresh", "stale", "hashed"):
        (upper / f"{name}.py").write_text(f"NAME = {name!r}\n")
        mode = py_compile.PycInvalidationMode.CHECKED_HASH if name == "hashed" else None
        py_compile.compile(str(upper / f"{name}.py"), doraise=True, invalidation_mode=mode)
    os.utime(upper / "stale.py", (1, 1))
    tag = sys.implementation.cache_tag
    before = (upper / f"__pycache__/hashed.{tag}.pyc").read_bytes()
    settle(upper)
    assert (upper / f"__pycache__/hashed.{tag}.pyc").read_bytes() == before
    stamps = {name: (upper / f"__pycache__/{name}.{tag}.pyc").read_bytes()[8:12] for name in ("fresh", "stale")}
    assert stamps["fresh"] == TIME_S.to_bytes(4, "little")
    assert stamps["stale"] != stamps["fresh"]
    assert {path.stat().st_mtime for path in (upper, *upper.rglob("*"))} == {TIME_S}
