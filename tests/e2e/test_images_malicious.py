"""Fault 14 of the fidelity sheet: layers that try to leave their root, in every way they can come in: pushed for a
function, as the base of a build, as an archive that a build adds. They are refused with a reason, and nothing outside
is touched."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from e2e_cloud import ROLE, Cloud, preheat
from registry_tools import Wire, digest, host, password

from preheat.sandbox.container import unusable

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ESCAPES = ["parent", "absolute", "symlink", "hard link", "device", "white-out"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o777
    return info


def layer(escape: str, outside: Path) -> bytes:
    """The plain tar of a layer that would write, link or delete in `outside`."""
    up = "../" * 40 + str(outside).strip("/")
    entries = {
        "parent": [entry(f"{up}/evil")],
        "absolute": [entry(f"{outside}/evil")],
        "symlink": [entry("way", tarfile.SYMTYPE, str(outside)), entry("way/evil")],
        "hard link": [entry("mine", tarfile.LNKTYPE, f"{up}/secret")],
        "device": [entry("disk", tarfile.BLKTYPE)],
        "white-out": [entry("a/.wh...")],
    }[escape]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info in (entry("first"), *entries):
            archive.addfile(info, io.BytesIO())
    return buffer.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("untouched")
    return directory


def untouched(outside: Path) -> bool:
    (only,) = outside.iterdir()
    return (only.name, only.read_text(), only.stat().st_nlink) == ("secret", "untouched", 1)


def push(cloud: Cloud, name: str, plain: bytes) -> str:
    """An image of one layer, in a repository of its own; returns its URI."""
    cloud.aws("ecr", "create-repository", "--repository-name", name)
    wire = Wire(host(cloud), f"AWS:{password(cloud)}")
    facts = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/first"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
    }
    blobs = [json.dumps(facts).encode(), gzip.compress(plain, mtime=0)]
    described = []
    for kind, blob in zip((CONFIG, LAYER), blobs, strict=True):
        assert wire.send("POST", f"/v2/{name}/blobs/uploads/?digest={digest(blob)}", blob).status == 201
        described.append({"mediaType": kind, "digest": digest(blob), "size": len(blob)})
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    put = wire.send("PUT", f"/v2/{name}/manifests/latest", json.dumps(manifest).encode(), content_type=MANIFEST)
    assert put.status == 201  # a registry does not look inside
    return f"{host(cloud)}/{name}:latest"


@pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)")
@pytest.mark.parametrize("escape", ESCAPES)
def test_a_function_of_such_an_image_fails_and_says_why(cloud: Cloud, outside: Path, escape: str) -> None:
    name = f"f-{escape.replace(' ', '-')}"
    uri = push(cloud, name, layer(escape, outside))
    client = cloud.client("lambda")
    client.create_function(FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE)
    with pytest.raises(Exception, match="terminal failure"):
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    shown = client.get_function_configuration(FunctionName=name)
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidImage")
    assert "cannot be unpacked" in shown["StateReason"]
    assert untouched(outside)
    assert list((cloud.data_dir / "layers").iterdir()) == []


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_build_takes_no_such_base_and_no_such_archive(cloud: Cloud, outside: Path, escape: str) -> None:
    context, data = outside.parent / "context", outside.parent / "data"
    context.mkdir()
    plain = layer(escape, outside)
    (context / "evil.tar").write_bytes(plain)
    base = push(cloud, f"b-{escape.replace(' ', '-')}", plain)
    for text, line in ((f"FROM {base}\nENV A=1\n", 1), ("FROM scratch\nADD evil.tar /\n", 2)):
        (context / "Dockerfile").write_text(text)
        done = preheat("build", str(context), "-t", "x", "--data-dir", str(data))
        assert done.returncode in (252, 255)
        assert f"line {line}: " in done.stderr
        assert "Traceback" not in done.stderr
        assert untouched(outside)
    assert [path.name for path in (data / "images").iterdir() if path.name.startswith(".b")] == []
