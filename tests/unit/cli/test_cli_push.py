"""`preheat push`: where an image goes, and which one of an index."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from preheat.cli.images import single
from preheat.cli.push import target_of
from preheat.cli.registry import ecr_region
from preheat.kernel.errors import PreheatError
from preheat.oci.layout import Layout
from preheat.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor

OWN = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


@pytest.mark.parametrize(
    ("text", "endpoint_url", "wanted"),
    [
        ("iris", "http://127.0.0.1:4566", "127.0.0.1:4566/iris:latest"),
        ("team/iris:v1", "http://localhost:1", "localhost:1/team/iris:v1"),
        ("127.0.0.1:9/iris", "http://127.0.0.1:4566", "127.0.0.1:9/iris:latest"),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/iris:v1",
            None,
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/iris:v1",
        ),
    ],
)
def test_a_destination_is_a_registry_or_the_local_cloud(
    text: str, endpoint_url: str | None, wanted: str, tmp_path: Path
) -> None:
    assert str(target_of(text, endpoint_url, tmp_path)) == wanted


def test_the_local_cloud_is_found_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_ECR", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(PreheatError, match="no local cloud is running"):
        target_of("iris", None, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert target_of("iris", None, tmp_path).registry == "127.0.0.1:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:2")
    assert target_of("iris", None, tmp_path).registry == "127.0.0.1:2"


def test_an_image_is_not_pushed_to_a_digest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not to a digest"):
        target_of(f"iris@sha256:{'0' * 64}", None, tmp_path)


def test_only_the_real_ecrs_host_is_real() -> None:
    assert ecr_region("123456789012.dkr.ecr.eu-west-1.amazonaws.com") == "eu-west-1"
    for host in ("127.0.0.1:4566", "000000000000.dkr.ecr.us-east-1.localhost:4566", "dkr.ecr.x.amazonaws.com"):
        assert ecr_region(host) is None


def test_of_an_index_this_machines_image_is_pushed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    images = {name: _image(layout, name) for name in (OWN, "riscv64", "unknown")}
    entries = [
        {**found.as_dict(), "platform": {"os": "unknown" if name == "unknown" else "linux", "architecture": name}}
        for name, found in images.items()
    ]
    assert single(layout, images[OWN]) == images[OWN]
    assert single(layout, _index(layout, entries)).digest == images[OWN].digest
    with pytest.raises(PreheatError, match="no manifest for linux"):
        single(layout, _index(layout, entries[1:]))


def _image(layout: Layout, name: str) -> Descriptor:
    config = Descriptor(OCI_CONFIG, layout.blobs.put(name.encode()), len(name))
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.as_dict(), "layers": []})
    return Descriptor(OCI_MANIFEST, layout.blobs.put(body.encode()), len(body))


def _index(layout: Layout, entries: list[dict[str, object]]) -> Descriptor:
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return Descriptor(OCI_INDEX, layout.blobs.put(body), len(body))
