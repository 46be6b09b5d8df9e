"""Blobs are whole and verified, or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from preheat.oci.blobs import BlobStore, DigestMismatch
from preheat.oci.digest import digest_of, hex_of


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", tmp_path / "work")


def test_a_blob_is_found_by_its_digest(store: BlobStore) -> None:
    digest = store.put(b"content")
    assert digest == digest_of(b"content") == store.put(b"content")
    assert (store.size(digest), store.read(digest), list(store.digests())) == (7, b"content", [digest])
    assert store.delete(digest) == 7
    assert store.size(digest) is None
    assert store.delete(digest) == 0


def test_content_that_is_not_its_digest_leaves_nothing(store: BlobStore) -> None:
    writer = store.writer()
    writer.write(b"wrong")
    with pytest.raises(DigestMismatch):
        writer.commit(digest_of(b"right"))
    assert list(store.digests()) == list(store.work_dir.iterdir()) == []


def test_an_unfinished_blob_is_continued_by_name(store: BlobStore) -> None:
    first = store.writer("upload")
    first.write(b"half")
    first.close()
    assert list(store.digests()) == []
    second = store.writer("upload")
    assert second.size == 4
    second.write(b" whole")
    assert second.commit(digest_of(b"half whole")) == digest_of(b"half whole")


def test_what_was_written_can_be_taken_back(store: BlobStore) -> None:
    writer = store.writer()
    writer.write(b"kept")
    mark = writer.mark()
    for _ in range(2):
        writer.write(b" and dropped")
        writer.back_to(mark)
        assert writer.size == writer.path.stat().st_size == 4
    writer.write(b"!")
    digest = writer.commit(digest_of(b"kept!"))
    assert store.read(digest) == b"kept!"


@pytest.mark.parametrize("bad", ["", "sha256:", "sha256:ABC", "sha512:" + "0" * 128, "../../etc/passwd", "0" * 64])
def test_what_is_no_digest_never_becomes_a_path(store: BlobStore, bad: str) -> None:
    with pytest.raises(ValueError, match="not a sha256 digest"):
        store.path(bad)
    with pytest.raises(ValueError, match="not a sha256 digest"):
        hex_of(bad)


def test_a_collection_spares_the_needed_and_the_young(store: BlobStore) -> None:
    needed, old, young = (store.put(content) for content in (b"needed", b"old", b"young"))
    left = store.writer("upload")
    left.close()
    for path in (store.path(needed), store.path(old), left.path):
        os.utime(path, (1, 1))
    assert store.collect({needed}, time.time() - 60) == (2, len(b"old"))
    assert set(store.digests()) == {needed, young}
