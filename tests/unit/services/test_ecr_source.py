"""Images as functions need them: resolved, pinned, unpacked, collected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ecr_support import CONFIG, MANIFEST, Bench, digest, layer

from preheat.kernel.errors import PreheatError
from preheat.kernel.image import ImageMissing, ImageSource, ImageUnsupported, ResolvedImage
from preheat.services.ecr.source import RegistryImages


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def images(bench: Bench) -> RegistryImages:
    return RegistryImages(bench.registry, bench.data_dir)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4566", "localhost:1", "000000000000.dkr.ecr.us-east-1.amazonaws.com", "a.dkr.ecr.b.localhost"]
)
def test_an_image_is_resolved_to_what_its_tag_means_now(bench: Bench, images: ImageSource, host: str) -> None:
    name = bench.push_image("one", "v1")
    image = images.resolve(f"{host}/app:v1")
    assert (image.uri, image.digest) == (f"{host}/app@{name}", name)
    assert (image.architecture, image.config, image.layers) == ("x86_64", {"Cmd": ["one"]}, (digest(layer("one")),))
    bench.push_image("two", "v1")
    assert images.resolve(f"{host}/app:v1").digest != name
    assert images.resolve(image.uri) == image


@pytest.mark.parametrize("uri", ["h.x/app:none", "h.x/none:v1", "h.x/app", "", "App", f"h.x/app@{digest(b'none')}"])
def test_what_is_not_there_is_missing(bench: Bench, images: RegistryImages, uri: str) -> None:
    bench.push_image("one", "v1")
    with pytest.raises(ImageMissing):
        images.resolve(uri)


def test_what_is_no_single_image_is_told_from_what_is_missing(bench: Bench, images: RegistryImages) -> None:
    child = bench.push_image("one")
    bench.push_index([child])
    with pytest.raises(ImageUnsupported, match="--provenance=false"):
        images.resolve("h.x/app:index")
    config = bench.push_blob(b"{}")
    described = {"mediaType": "application/vnd.in-toto+json", "digest": config, "size": 2}
    for name, parts in {
        "attestation": {"config": {**described, "mediaType": CONFIG}, "layers": [described]},
        "artifact": {"config": described, "layers": []},
        "broken": {"config": {**described, "mediaType": CONFIG}, "layers": []},
    }.items():
        body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode()
        assert bench.send("PUT", f"/v2/app/manifests/{name}", body, content_type=MANIFEST).status == 201
        with pytest.raises(ImageUnsupported):
            images.resolve(f"h.x/app:{name}")


def test_a_pinned_image_outlives_its_repository(bench: Bench, images: RegistryImages) -> None:
    bench.push_image("one", "v1")
    image = images.resolve("h.x/app:v1")
    images.pin("function:1", image.digest)
    bench.registry.delete_repository("app", force=True)
    assert bench.registry.collect(0).files == 0
    bench.restart()
    images = RegistryImages(bench.registry, bench.data_dir)
    with pytest.raises(ImageMissing):
        images.resolve(image.uri)
    root = _in_a_thread(images.flat_directory, image)
    assert (root / "one").read_text() == "one"
    images.unpin("function:1")
    images.unpin("function:1")
    assert bench.blobs() == set()
    with pytest.raises(PreheatError, match="cannot be unpacked"):
        images.layer_directories(image)


def _in_a_thread(unpack: Callable[[ResolvedImage], Path], image: ResolvedImage) -> Path:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(unpack, image).result()


def test_unpacked_layers_are_shared_and_go_with_the_last_who_needs_them(bench: Bench) -> None:
    running: set[str] = set()
    images = RegistryImages(bench.registry, bench.data_dir, lambda: running)
    bench.push_image("one", "v1")
    image = images.resolve("h.x/app:v1")
    images.pin("f", image.digest)
    (directory,) = images.layer_directories(image)
    assert (directory / "one").read_text() == "one"
    assert asyncio.run(images.collect()) == 0
    assert images.layer_directories(image) == (directory,)
    running.add(str(directory))
    images.unpin("f")
    assert asyncio.run(images.collect()) == 0  # an environment of a deleted function still runs from it
    assert directory.is_dir()
    running.clear()
    assert asyncio.run(images.collect()) == 1
    assert not directory.exists()


def test_a_server_gives_the_disk_back_by_itself(bench: Bench) -> None:
    images = RegistryImages(bench.registry, bench.data_dir)
    bench.push_image("one", "v1")
    image = images.resolve("h.x/app:v1")
    images.pin("f", image.digest)
    (directory,) = images.layer_directories(image)

    async def serve() -> None:
        images.unpin("f")
        async with asyncio.timeout(20):
            while directory.exists():
                await asyncio.sleep(0.02)
        images.close()

    asyncio.run(serve())
