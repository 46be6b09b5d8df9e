"""Builds without a daemon: what each instruction does, what is refused, and that the same input is the same image."""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from layer_maker import Made, folder, gzipped, listing, symlink, tar

from preheat.kernel.errors import PreheatError
from preheat.oci.builder import build
from preheat.oci.digest import digest_of
from preheat.oci.dockerfile import DockerfileError
from preheat.oci.layers import Layer, LayerStore
from preheat.oci.layout import Layout
from preheat.oci.manifest import OCI_LAYER, Descriptor
from preheat.oci.pack import PackedLayer
from preheat.oci.plan import BaseImage, BuildPlan, BuildTools, architecture

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Bench:
    """A layout with one base image ("base") and a build context."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root / "layout")
        self.layers = LayerStore(root / "unpacked", self.layout.blobs)
        self.context = root / "context"
        self.context.mkdir()
        plain = tar(
            folder("etc"),
            Made("etc/passwd", b"root:x:0:0::/:\nann:x:501:502::/:\n"),
            Made("etc/group", b"staff:x:77:\n"),
            folder("tmp", 0o1777),
            folder("real"),
            symlink("alias", "real"),
            folder("var"),
            folder("var/lang"),
            folder("var/lang/bin"),
            Made(f"var/lang/bin/python{VERSION}", b"", mode=0o755),
        )
        blob = self.layout.blobs.put(gzipped(plain))
        layer = PackedLayer(Descriptor(f"{OCI_LAYER}+gzip", blob, self.layout.blobs.size(blob) or 0), digest_of(plain))
        self.base = BaseImage((layer,), {"Env": ["PATH=/bin", "WHERE=/task"], "Cmd": ["base"], "WorkingDir": "/app"})
        self.said: list[str] = []

    def write(self, **files: str) -> None:
        for name, content in files.items():
            path = self.context / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def build(self, dockerfile: str, target: str | None = None, **arguments: str) -> Descriptor:
        path = self.layout.root / "Dockerfile"
        path.write_text(dockerfile)
        tools = BuildTools(self.layout, self.layers, self.find, lambda version: Path(sys.executable), self.said.append)
        return build(BuildPlan(self.context, path, arguments, target), tools)

    def find(self, name: str) -> BaseImage:
        if name != "base":
            raise ValueError("is not among the local images")
        return self.base

    def config(self, image: Descriptor) -> dict[str, Any]:
        config = self.layout.manifest(image).config
        assert config is not None
        value: dict[str, Any] = json.loads(self.layout.blobs.read(config.digest))
        return value

    def files(self, image: Descriptor) -> dict[str, str]:
        """Everything in the image that the base does not have."""
        whole = listing(self.root(image))
        return {path: what for path, what in whole.items() if path not in listing(self.unpack([self.base.layers[0]]))}

    def root(self, image: Descriptor) -> Path:
        diff_ids = self.config(image)["rootfs"]["diff_ids"]
        layers = [PackedLayer(d, i) for d, i in zip(self.layout.manifest(image).layers, diff_ids, strict=True)]
        return self.unpack(layers)

    def unpack(self, layers: list[PackedLayer]) -> Path:
        return self.layers.flat([Layer(layer.descriptor.digest, layer.diff_id) for layer in layers])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_configuration_is_the_bases_with_what_was_added(bench: Bench) -> None:
    image = bench.build(
        "ARG TAG=x\nFROM base\nARG TAG\nARG GIVEN=no\nENV A=$TAG B=${WHERE}/$GIVEN\nLABEL one=1\nLABEL two=2\n"
        'EXPOSE 8080 53/udp\nUSER ann\nVOLUME /data\nSTOPSIGNAL SIGINT\nCMD ["a.handler"]',
        GIVEN="yes",
    )
    value = bench.config(image)
    config = value["config"]
    assert config["Env"] == ["PATH=/bin", "WHERE=/task", "A=x", "B=/task/yes"]
    assert config["Labels"] == {"one": "1", "two": "2"}
    assert (config["Cmd"], config["User"], config["StopSignal"]) == (["a.handler"], "ann", "SIGINT")
    assert config["ExposedPorts"] == {"8080/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert (value["os"], len(value["rootfs"]["diff_ids"])) == ("linux", 1)


def test_what_only_docker_reads_is_kept_as_docker_keeps_it(bench: Bench) -> None:
    value = bench.config(
        bench.build(
            'FROM base\nMAINTAINER Ann\nSHELL ["/bin/bash", "-c"]\nCMD run $it\nONBUILD COPY . /app\nONBUILD RUN x\n'
            'HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD ["ask", "it"]'
        )
    )
    config = value["config"]
    assert (value["author"], config["Shell"], config["OnBuild"]) == (
        "Ann",
        ["/bin/bash", "-c"],
        ["COPY . /app", "RUN x"],
    )
    assert config["Cmd"] == ["/bin/bash", "-c", "run $it"]
    asked = {"Test": ["CMD", "ask", "it"], "Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 3}
    assert config["Healthcheck"] == asked
    none = bench.config(bench.build("FROM base\nHEALTHCHECK NONE"))["config"]["Healthcheck"]
    assert none == {"Test": ["NONE"]}


def test_here_documents_become_files(bench: Bench) -> None:
    bench.write(f="x")
    image = bench.build(
        "FROM base\nENV WHO=ann\nCOPY <<one <<-'two' f /many/\nfor $WHO\none\n\tfor $WHO\n\ttwo\n"
        'COPY --chmod=700 <<"three" /script\n#!/bin/sh\nthree'
    )
    files = bench.files(image)
    assert (files["many/one"], files["many/two"], files["many/f"]) == ("for ann\n", "for $WHO\n", "x")
    assert files["script"] == "#!/bin/sh\n"
    assert (bench.root(image) / "script").stat().st_mode & 0o777 == 0o700


def test_a_platform_has_to_be_this_machines(bench: Bench) -> None:
    own, other = (architecture(), "arm64") if architecture() == "amd64" else (architecture(), "amd64")
    plain = bench.build("FROM base")
    for text in (f"linux/{own}", own, platform.machine(), "$BUILDPLATFORM", "${TARGETPLATFORM}"):
        assert bench.build(f"FROM --platform={text} base") == plain
    for text in (f"linux/{other}", other, "windows/amd64", f"linux/{own}/v9", "linux"):
        with pytest.raises(DockerfileError, match=rf"^line 2: FROM --platform={text} .* use docker build"):
            bench.build(f"\nFROM --platform={text} base")


def test_a_base_that_cannot_be_made_names_its_line(bench: Bench) -> None:
    def find(name: str) -> BaseImage:
        raise PreheatError("no interpreter for runtime python3.99 found")

    bench.find = find  # type: ignore[method-assign]
    with pytest.raises(DockerfileError, match=r"line 1: FROM base: no interpreter for runtime python3.99 found"):
        bench.build("FROM base")


def test_an_entry_point_drops_the_bases_command_but_not_its_own(bench: Bench) -> None:
    assert "Cmd" not in bench.config(bench.build("FROM base\nENTRYPOINT run it"))["config"]
    own = bench.config(bench.build('FROM base\nCMD x\nENTRYPOINT ["e"]'))["config"]
    assert (own["Entrypoint"], own["Cmd"]) == (["e"], ["/bin/sh", "-c", "x"])


def test_copy_follows_dockers_rules_of_source_and_destination(bench: Bench) -> None:
    bench.write(**{"a.txt": "a", "b.txt": "b", "dir__c.txt": "c", "dir__sub__d.txt": "d", ".dockerignore": "dir/sub"})
    image = bench.build(
        "FROM base\nCOPY a.txt .\nCOPY a.txt renamed\nCOPY *.txt /many/\nCOPY dir /tree\nCOPY dir/c.txt $WHERE/\n"
        'COPY ["a.txt", "/with space/"]\nWORKDIR sub\nCOPY b.txt ./'
    )
    assert bench.files(image) == {
        "app": "dir",
        "app/a.txt": "a",
        "app/renamed": "a",
        "app/sub": "dir",
        "app/sub/b.txt": "b",
        "many": "dir",
        "many/a.txt": "a",
        "many/b.txt": "b",
        "tree": "dir",
        "tree/c.txt": "c",
        "task": "dir",
        "task/c.txt": "c",
        "with space": "dir",
        "with space/a.txt": "a",
    }


def test_copies_go_where_the_images_links_lead_and_keep_directories_as_they_are(bench: Bench) -> None:
    bench.write(f="x")
    root = bench.root(bench.build("FROM base\nCOPY f /alias/\nCOPY f /tmp/"))
    assert (root / "real/f").read_text() == "x"
    assert (root / "alias").is_symlink()
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_owners_and_permissions_can_be_chosen(bench: Bench) -> None:
    bench.write(f="x")
    image = bench.build("FROM base\nCOPY --chown=ann:staff --chmod=600 f /one\nCOPY --chown=5 f /two")
    members = {}
    for layer in bench.layout.manifest(image).layers[1:]:
        with tarfile.open(bench.layout.blobs.path(layer.digest)) as archive:
            members.update({m.name: (m.uid, m.gid, m.mode & 0o777) for m in archive})
    assert members["one"] == (501, 77, 0o600)
    assert members["two"][:2] == (5, 5)


def test_add_unpacks_local_archives(bench: Bench) -> None:
    with tarfile.open(bench.context / "files.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("inner/x")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    bench.write(plain="p")
    assert bench.files(bench.build("FROM base\nADD files.tar.gz plain /to/")) == {
        "to": "dir",
        "to/inner": "dir",
        "to/inner/x": "x",
        "to/plain": "p",
    }


def test_stages_copy_from_each_other_and_from_images(bench: Bench) -> None:
    bench.write(f="x")
    text = (
        "FROM base AS first\nCOPY f /made/\nENV IN=first\nFROM first AS second\nCOPY f /more/\n"
        "FROM scratch\nCOPY --from=first /made /copied\nCOPY --from=1 /more/f /made/* /all/\n"
        "COPY --from=base /etc/passwd /alias /"
    )
    root = bench.root(bench.build(text))
    assert sorted(listing(root)) == ["all", "all/f", "copied", "copied/f", "passwd"]
    second = bench.build(text, target="second")
    assert set(bench.files(second)) == {"made", "made/f", "more", "more/f"}
    assert "IN=first" in bench.config(second)["config"]["Env"]


def test_the_same_input_is_the_same_image_whatever_the_time(bench: Bench, tmp_path: Path) -> None:
    bench.write(**{"b": "2", "a": "1", "d__c": "3"})
    text = "FROM base\nCOPY . /all/\nENV A=1"
    first = bench.build(text)
    for path in bench.context.rglob("*"):
        os.utime(path, (5, 5))
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.write(**{"d__c": "3", "a": "1", "b": "2"})
    assert first.digest == bench.build(text).digest == other.build(text).digest
    bench.write(a="changed")
    assert bench.build(text).digest != first.digest


def test_pip_installs_into_the_images_interpreter_once(bench: Bench) -> None:
    bench.write(**{"package__setup.py": "", "requirements.txt": "./package\n"})
    (bench.context / "package" / "pyproject.toml").write_text(
        '[project]\nname = "told"\nversion = "1"\nscripts = {tell = "told:main"}\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (bench.context / "package" / "backend.py").write_text(BACKEND)
    text = (
        "FROM base\nCOPY . .\nRUN pip install --no-cache-dir -r requirements.txt \\\n"
        "  && python -m pip install -t /task /app/package"
    )
    image = bench.build(text)
    files = bench.files(image)
    site = f"var/lang/lib/python{VERSION}/site-packages"
    assert files[f"{site}/told.py"] == files["task/told.py"] == "def main(): ...\n"
    assert files["var/lang/bin/tell"].startswith(f"#!/var/lang/bin/python{VERSION}\n")
    tag = f"cpython-{VERSION.replace('.', '')}"
    assert f"{site}/__pycache__/told.{tag}.pyc" in files
    assert bench.build(text).digest == image.digest
    assert sum("cached" in line for line in bench.said) == 2


BACKEND = """
import zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "told-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("told.py", "def main(): ...\\n")
        wheel.writestr("told-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: told\\nVersion: 1\\n")
        wheel.writestr("told-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("told-1.dist-info/entry_points.txt", "[console_scripts]\\ntell = told:main\\n")
        wheel.writestr("told-1.dist-info/RECORD", "")
    return name
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("COPY a b", 1, "before the first FROM"),
        ("FROM nowhere", 1, "not among the local images"),
        ("FROM base\nRUN yum install gcc", 2, "use docker build"),
        ("FROM base\n\nRUN pip install x && make", 3, "use docker build"),
        ("FROM base\nRUN pip install x | tee log", 2, "use docker build"),
        ("FROM base\nRUN pip install $(cat list)", 2, "use docker build"),
        ("FROM base\nRUN --mount=type=cache,target=/x pip install y", 2, "use docker build"),
        ("FROM base\nRUN pip install --user x", 2, "use docker build"),
        ("FROM scratch\nRUN pip install x", 2, "without Lambda's Python"),
        ("FROM base\nHEALTHCHECK --interval=soon CMD x", 2, "is no duration"),
        ("FROM base\nHEALTHCHECK x", 2, "HEALTHCHECK is"),
        ("FROM base\nONBUILD FROM x", 2, "is not allowed"),
        ("FROM base\nSHELL /bin/bash", 2, "SHELL is"),
        ("FROM base\nRUN <<EOF\necho", 2, "no line EOF"),
        ("FROM base\nADD https://example.com/x /", 2, "use docker build"),
        ("FROM base\nCOPY --parents a /b", 2, "use docker build"),
        ("FROM base\nCOPY missing /x", 2, "no such file"),
        ("FROM base\nCOPY ../x /x", 2, "outside the build context"),
        ("FROM base\nCOPY --from=base /missing /x", 2, "no such file"),
        ("FROM base\nCOPY --chown=nobody f /x", 2, "has no nobody"),
        ("FROM base\nCOPY f /etc/passwd/x", 2, "not a directory"),
        ("FROM base\nCOPY f g /etc/passwd", 2, "must be a directory"),
        ("FROM base\nCOPY f", 2, "source and a destination"),
        ("FROM base AS", 1, "FROM is"),
        ("FROM base\nENV A", 2, "needs a value"),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_line(bench: Bench, text: str, line: int, words: str) -> None:
    bench.write(f="x", g="y")
    with pytest.raises(DockerfileError) as error:
        bench.build(text)
    assert error.value.line == line
    assert words in str(error.value)
    assert [path for path in bench.layout.root.iterdir() if path.name.startswith(".build")] == []
