"""Image layouts: names, what belongs to them, and what goes when nothing does."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from preheat.oci.layout import Layout
from preheat.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor


def image(layout: Layout, name: bytes) -> Descriptor:
    config = Descriptor(OCI_CONFIG, layout.blobs.put(name), len(name))
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.as_dict(), "layers": []})
    return Descriptor(OCI_MANIFEST, layout.blobs.put(body.encode()), len(body))


def test_a_name_means_the_last_image_given_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    assert layout.find("a") is None
    one, two = image(layout, b"one"), image(layout, b"two")
    layout.tag("a", one)
    layout.tag("b", one)
    layout.tag("a", two)
    again = Layout(tmp_path / "layout")
    assert again.names() == ["a", "b"]
    found = again.find("a")
    assert found is not None
    assert found.digest == two.digest
    assert again.manifest(found).config == again.manifest(two).config
    assert json.loads((tmp_path / "layout/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_builds_at_once_lose_no_name(tmp_path: Path) -> None:
    layouts = [Layout(tmp_path / "layout") for _ in range(8)]
    one = image(layouts[0], b"one")
    threads = [threading.Thread(target=layout.tag, args=(f"n{n}", one)) for n, layout in enumerate(layouts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert layouts[0].names() == [f"n{n}" for n in range(8)]


def test_a_collection_keeps_what_names_lead_to_through_an_index(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    child, lone, cached = image(layout, b"child"), image(layout, b"lone"), layout.blobs.put(b"cached layer")
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.as_dict()]}).encode()
    layout.tag("index", Descriptor(OCI_INDEX, layout.blobs.put(body), len(body)))
    assert layout.collect({cached}, time.time() - 60) == (0, 0)
    assert layout.collect({cached}, time.time() + 60)[0] == 2
    assert layout.blobs.size(lone.digest) is None
    assert layout.blobs.size(child.digest) is not None
    assert layout.blobs.read(cached) == b"cached layer"
