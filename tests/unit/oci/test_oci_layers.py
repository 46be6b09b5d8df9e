"""Unpacked layers: once per content, shared, whole or not there."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from layer_maker import Made, folder, gzipped, listing, symlink, tar

from preheat.oci.blobs import BlobStore
from preheat.oci.digest import digest_of
from preheat.oci.layers import Layer, LayerStore, chain_id
from preheat.oci.tarstream import LayerRefused


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", tmp_path / "work")


def put(blobs: BlobStore, *entries: Made) -> Layer:
    plain = tar(*entries)
    return Layer(blobs.put(gzipped(plain)), digest_of(plain))


def test_the_chain_of_layers_has_the_specifications_name() -> None:
    one, two = digest_of(b"1"), digest_of(b"2")
    assert chain_id([one]) == one
    assert chain_id([one, two]) == digest_of(f"{one} {two}".encode())


def test_layers_are_applied_in_order_and_unpacked_once(tmp_path: Path, blobs: BlobStore) -> None:
    store = LayerStore(tmp_path / "store", blobs)
    layers = [put(blobs, folder("d"), Made("d/a", b"1")), put(blobs, Made("d/.wh.a"), Made("d/b", b"2"))]
    flat = store.flat(layers)
    assert listing(flat) == {"d": "dir", "d/b": "2"}
    before = flat.stat().st_ino
    for layer in layers:
        blobs.delete(layer.digest)
    assert store.flat(layers).stat().st_ino == before


def test_set_user_id_programs_of_an_image_are_out_of_everybodys_reach(tmp_path: Path, blobs: BlobStore) -> None:
    """Root keeps owners: whoever could walk to an image's `su` on this machine would be root here."""
    (tmp_path / "store/layers").mkdir(parents=True, mode=0o755)
    store = LayerStore(tmp_path / "store", blobs)
    layer = put(blobs, Made("su", b"x", mode=0o4755))
    for path in (store.flat([layer]), *store.directories([layer])):
        assert (path / "su").stat().st_mode & 0o4000
        assert path.parent.stat().st_mode & 0o077 == 0


def test_shared_layers_have_one_directory(tmp_path: Path, blobs: BlobStore) -> None:
    store = LayerStore(tmp_path / "store", blobs)
    shared = put(blobs, Made("shared", b"x"))
    images = [[shared, put(blobs, Made("own", str(number).encode()))] for number in range(10)]
    directories = {path for image in images for path in store.directories(image)}
    assert len(directories) == 11
    assert len(list((tmp_path / "store/layers").iterdir())) == 11


def test_layers_stacked_by_the_kernel_are_what_layers_applied_are(tmp_path: Path, blobs: BlobStore) -> None:
    store = LayerStore(tmp_path / "store", blobs)
    layers = [
        put(
            blobs, folder("d"), Made("d/a", b"1"), Made("d/b", b"1"), folder("e"), Made("e/x", b"1"), symlink("l", "d")
        ),
        put(blobs, Made("d/.wh.a"), Made("d/c", b"2"), Made("e/.wh..wh..opq"), Made("e/y", b"2"), Made("l/in", b"2")),
        put(blobs, Made(".wh.e"), folder("e"), Made("e/z", b"3"), Made("d/a", b"3"), Made("d/.wh.c")),
    ]
    wanted = {"d": "dir", "d/a": "3", "d/b": "1", "e": "dir", "e/z": "3", "l": "dir", "l/in": "2"}
    assert listing(store.flat(layers)) == wanted
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            store.directories(layers)
        return
    merged = tmp_path / "merged"
    merged.mkdir()
    lower = ":".join(str(path) for path in reversed(store.directories(layers)))
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}", merged], check=True)
    try:
        assert listing(merged) == wanted
    finally:
        subprocess.run(["umount", merged], check=True)


def test_a_layer_that_is_not_what_its_image_says_is_refused(tmp_path: Path, blobs: BlobStore) -> None:
    store = LayerStore(tmp_path / "store", blobs)
    layer = put(blobs, Made("a", b"x"))
    with pytest.raises(LayerRefused, match="its image says"):
        store.flat([Layer(layer.digest, digest_of(b"something else"))])
    with pytest.raises(LayerRefused):
        store.flat([put(blobs, Made("../a", b"x"))])
    assert list((tmp_path / "store/flat").iterdir()) == []


def test_a_collection_removes_what_no_image_needs_and_what_was_left_half(tmp_path: Path, blobs: BlobStore) -> None:
    store = LayerStore(tmp_path / "store", blobs)
    kept, gone = put(blobs, Made("a", b"1")), put(blobs, folder("d", 0o500), Made("d/b", b"2"))
    flat, doomed = store.flat([kept]), store.flat([gone])
    half = tmp_path / "store/flat/.work-killed"
    half.mkdir()
    assert store.collect((), [chain_id([kept.diff_id])], time.time() - 3600) == 0
    assert store.collect((), [chain_id([kept.diff_id])], time.time() + 1) == 2
    assert flat.is_dir()
    assert not doomed.exists()
    assert not half.exists()
    assert list((tmp_path / "store/flat").iterdir()) == [flat]
