"""Manifests: the four kinds are read, everything else is an error of one kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.oci.digest import digest_of
from preheat.oci.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    ManifestError,
    choose_platform,
    parse_manifest,
)

CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"c"), "size": 1}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest_of(b"l"), "size": 2}


def image(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [LAYER], **changes}).encode()


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image_has_a_config_and_layers(media_type: str) -> None:
    manifest = parse_manifest(image(mediaType=media_type))
    assert (manifest.media_type, manifest.is_index) == (media_type, False)
    assert [blob.digest for blob in manifest.blobs()] == [digest_of(b"c"), digest_of(b"l")]
    assert parse_manifest(image(), f"{media_type}; charset=utf-8").media_type == media_type
    assert parse_manifest(image()).artifact_type == CONFIG["mediaType"]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_names_a_manifest_for_each_platform(media_type: str) -> None:
    entries = [
        {**LAYER, "platform": {"os": os, "architecture": architecture, "os.features": ["x"]}}
        for os, architecture in [("unknown", "unknown"), ("linux", "arm64"), ("linux", "amd64")]
    ]
    entries[2]["digest"] = digest_of(b"amd64")
    index = parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode())
    chosen = choose_platform(index, "amd64")
    assert chosen is not None
    assert chosen.digest == digest_of(b"amd64")
    assert choose_platform(index, "riscv64") is None
    assert list(index.blobs()) == []


def test_content_that_is_elsewhere_is_not_asked_for() -> None:
    foreign = {**LAYER, "urls": ["https://example.com/layer"]}
    assert [blob.digest for blob in parse_manifest(image(layers=[foreign])).blobs()] == [CONFIG["digest"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2}',
        image(config={"digest": "sha256:x", "size": 1}),
        image(config={**CONFIG, "size": -1}),
        image(config={**CONFIG, "size": True}),
        image(layers={}),
        image(layers=["x"]),
        image(mediaType="text/plain"),
        image(mediaType=OCI_INDEX),
        image(annotations={"a": 1}),
        image(artifactType=1),
        image(layers=[{**LAYER, "urls": "x"}]),
        b"[" * 100_000,
        b" " * (4 * 2**20 + 1),
    ],
)
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(body)


def test_two_names_for_one_manifest_are_refused() -> None:
    with pytest.raises(ManifestError, match="Content-Type"):
        parse_manifest(image(mediaType=OCI_MANIFEST), DOCKER_MANIFEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["config", "layers", "manifests", "subject", "annotations", "mediaType"]), JSON))
def test_any_json_is_a_manifest_or_an_error_of_one_kind(fields: dict[str, Any]) -> None:
    try:
        manifest = parse_manifest(json.dumps({"schemaVersion": 2, **fields}).encode())
    except ManifestError:
        return
    assert manifest.is_index or manifest.config is not None
