"""Layers remembered from build to build: a small note for each, whose blob is in the layout."""

from __future__ import annotations

import json
from pathlib import Path

from preheat.oci.layout import Layout
from preheat.oci.manifest import Descriptor
from preheat.oci.pack import PackedLayer


def read_cached(path: Path, layout: Layout) -> PackedLayer | None:
    """A layer made before, where its blob is still there; it counts as used just now."""
    try:
        value = json.loads(path.read_text())
        descriptor = Descriptor(value["media_type"], value["digest"], value["size"])
    except (OSError, ValueError, KeyError):
        return None
    if layout.blobs.size(descriptor.digest) != descriptor.size:
        return None
    path.touch()
    layout.blobs.touch(descriptor.digest)
    return PackedLayer(descriptor, value["diff_id"])


def write_cached(path: Path, layer: PackedLayer) -> None:
    """Remember a layer; whoever reads at the same time gets the old note or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = layer.descriptor
    facts = {"media_type": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**facts, "diff_id": layer.diff_id}))
    temporary.replace(path)
