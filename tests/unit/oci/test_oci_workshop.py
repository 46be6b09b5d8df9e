"""Where builds work: names, bases found and refused, and what a collection leaves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from preheat.oci.compile_step import compiled
from preheat.oci.dockerfile import DockerfileError
from preheat.oci.lambda_base import python_version
from preheat.oci.manifest import OCI_MANIFEST, Descriptor
from preheat.oci.plan import BuildPlan, architecture
from preheat.oci.workshop import Workshop

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("public.ecr.aws/lambda/python:3.11", "3.11"),
        ("public.ecr.aws/lambda/python:3.8-x86_64", "3.8"),
        ("public.ecr.aws/lambda/python:3.12.2024.05.01.10", "3.12"),
        ("amazon/aws-lambda-python:3.9", "3.9"),
        ("public.ecr.aws/lambda/python", None),
        ("public.ecr.aws/lambda/nodejs:20", None),
        ("python:3.11", None),
        ("example.com/public.ecr.aws/lambda/python:3.11", None),
    ],
)
def test_the_names_of_lambdas_python_images_are_known(name: str, version: str | None) -> None:
    assert python_version(name) == version


def build(workshop: Workshop, context: Path, dockerfile: str, name: str) -> Descriptor:
    (context / "Dockerfile").write_text(dockerfile)

    def no_interpreter(version: str) -> Path:
        raise RuntimeError(f"this machine has no Python {version}")

    plan = BuildPlan(context, context / "Dockerfile")
    return workshop.build(plan, name, no_interpreter, Path(__file__), lambda registry: None, lambda line: None)


def test_a_local_image_is_a_base_whatever_it_is_called(tmp_path: Path) -> None:
    workshop, context = Workshop(tmp_path / "data"), tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("x")
    build(workshop, context, "FROM scratch\nCOPY f /f\nENV A=1", f"public.ecr.aws/lambda/python:{VERSION}")
    build(workshop, context, f"FROM public.ecr.aws/lambda/python:{VERSION}\nENV B=2", "second")
    assert workshop.layout.names() == [f"public.ecr.aws/lambda/python:{VERSION}", "second:latest"]
    found = workshop.find("second")
    assert found is not None
    assert len(workshop.layout.manifest(found).layers) == 1


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("nowhere", "skopeo copy docker://nowhere"),
        ("public.ecr.aws/lambda/python:3.9", "no Python 3.9"),
        ("127.0.0.1:1/x", "does not answer"),
        ("Bad", "lower case"),
    ],
)
def test_a_base_that_cannot_be_had_says_why(tmp_path: Path, base: str, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as error:
        build(Workshop(tmp_path / "data"), tmp_path, f"# base\nFROM {base}", "x")
    assert error.value.line == 2


def test_a_base_for_another_architecture_is_refused(tmp_path: Path) -> None:
    workshop, context = Workshop(tmp_path / "data"), tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("x")
    other, suffix = ("arm64", "arm64") if architecture() == "amd64" else ("amd64", "x86_64")
    made = workshop.layout.manifest(build(workshop, context, "FROM scratch\nCOPY f /f", "own"))
    assert made.config is not None
    blobs = workshop.layout.blobs
    config = blobs.put(json.dumps({**json.loads(blobs.read(made.config.digest)), "architecture": other}).encode())
    described = {**made.config.as_dict(), "digest": config, "size": blobs.size(config)}
    body = {"schemaVersion": 2, "config": described, "layers": [layer.as_dict() for layer in made.layers]}
    manifest = json.dumps(body).encode()
    workshop.layout.tag("foreign:latest", Descriptor(OCI_MANIFEST, blobs.put(manifest), len(manifest)))
    for base in ("foreign", f"public.ecr.aws/lambda/python:{VERSION}-{suffix}"):
        with pytest.raises(DockerfileError, match=rf"line 1: FROM {base}: is for linux/{other}, .* use docker build"):
            build(workshop, context, f"FROM {base}", "x")


def test_a_collection_keeps_named_images_and_removes_what_killed_builds_left(tmp_path: Path) -> None:
    workshop, context = Workshop(tmp_path / "data"), tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("x")
    build(workshop, context, "FROM scratch\nCOPY f /f", "x")
    (context / "f").write_text("y")
    build(workshop, context, "FROM scratch\nCOPY f /f", "x")
    left = workshop.layout.root / ".build-killed"
    left.mkdir()
    mounts = workshop.layout.root / "mounts"
    (mounts / "old").mkdir(parents=True)
    (mounts / "new").mkdir()
    for path in (left, mounts / "old"):
        os.utime(path, (1, 1))
    assert workshop.collect(60)[0] == 0
    assert workshop.collect(-60)[0] == 3  # layer, configuration and manifest of the image that lost its name
    found = workshop.find("x")
    assert found is not None
    assert all(workshop.layout.blobs.size(blob.digest) is not None for blob in workshop.layout.manifest(found).blobs())
    assert not left.exists()
    assert [path.name for path in mounts.iterdir()] == ["new"]


def test_bytecode_is_the_same_every_time_and_where_python_looks_for_it(tmp_path: Path) -> None:
    sources = []
    for number in range(12):
        path = tmp_path / f"m{number}.py"
        path.write_text(f"NAMES = {{'a', 'b', 'c'}}\nVALUE = {number}\n" if number != 5 else "not python (")
        sources.append((path, f"/var/task/p/m{number}.py"))
    runs = []
    for attempt, order in enumerate((sources, sources[::-1])):
        entries = list(compiled(Path(sys.executable), VERSION, order, tmp_path / f"work{attempt}"))
        runs.append({entry.path: entry.source.read_bytes() for entry in entries if entry.source is not None})
    assert runs[0] == runs[1]
    tag = f"cpython-{VERSION.replace('.', '')}"
    assert set(runs[0]) == {f"var/task/p/__pycache__/m{n}.{tag}.pyc" for n in range(12) if n != 5}
    with pytest.raises(RuntimeError, match="cannot compile"):
        list(compiled(Path("/bin/false"), VERSION, sources, tmp_path / "none"))
