"""Unpacking: what a layer says is what one gets, and nothing it says leads out of the root (fault 14)."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_maker import Made, device, folder, gzipped, hard_link, listing, symlink, tar, zstd_compressed

from preheat.oci.digest import digest_of
from preheat.oci.tarstream import LayerRefused
from preheat.oci.unpack import UnpackLimits, clean_path, unpack

FORMS = [True, False] if os.geteuid() == 0 else [True]
"""Flat, and as root also one directory a layer: overlayfs's opaque mark is root's alone to set."""


def unpacked(root: Path, *layers: bytes, flat: bool = True) -> dict[str, str]:
    for layer in layers:
        unpack(io.BytesIO(layer), root, flat=flat)
    return listing(root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a directory beside it that nothing may touch."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("untouched")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("flat", FORMS)
@pytest.mark.parametrize("compress", [bytes, gzipped, zstd_compressed])
def test_a_layer_gives_its_files_whatever_its_compression(root: Path, flat: bool, compress: object) -> None:
    layer = tar(folder("etc"), Made("etc/name", b"x"), symlink("etc/link", "/etc/name"), hard_link("same", "etc/name"))
    assert callable(compress)
    diff_id = unpack(io.BytesIO(compress(layer)), root, flat=flat)
    assert diff_id == digest_of(layer)
    assert listing(root) == {"etc": "dir", "etc/link": "->/etc/name", "etc/name": "x", "same": "x"}
    assert (root / "same").stat().st_ino == (root / "etc/name").stat().st_ino


def test_permissions_times_and_long_names_are_kept(root: Path) -> None:
    long = "/".join(["d" * 100] * 5) + "/" + "n" * 200
    layer = tar(
        folder("d", 0o555), Made("d/f", b"x", mode=0o4755), Made(long, b"long"), Made("tmp", kind=tarfile.FIFOTYPE)
    )
    unpacked(root, layer)
    assert stat.S_IMODE((root / "d").stat().st_mode) & 0o555 == 0o555
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o4755
    assert (root / "d/f").stat().st_mtime == (root / "d").stat().st_mtime == 1_000_000_000
    assert (root / long).read_text() == "long"
    assert stat.S_ISFIFO((root / "tmp").stat().st_mode)


def test_owners_are_kept_where_root_unpacks(root: Path) -> None:
    unpacked(root, tar(Made("f", b"x", uid=1234, gid=4321), Made("l", kind=tarfile.SYMTYPE, link="f", uid=7, gid=8)))
    wanted = [(1234, 4321), (7, 8)] if os.geteuid() == 0 else [(os.geteuid(), os.getegid())] * 2
    assert [((root / n).lstat().st_uid, (root / n).lstat().st_gid) for n in ("f", "l")] == wanted


def test_whiteouts_take_away_what_lies_below(root: Path) -> None:
    below = tar(
        folder("d"), Made("d/a", b"a"), Made("d/b", b"b"), folder("gone"), Made("gone/x", b"x"), Made("f", b"f")
    )
    above = tar(Made("d/.wh.a"), Made(".wh.gone"), Made(".wh.f"), Made("d/.wh..wh.plnk"))
    assert unpacked(root, below, above) == {"d": "dir", "d/b": "b"}


@pytest.mark.parametrize("order", [0, 1])
def test_an_opaque_directory_hides_the_layers_below_but_not_its_own(root: Path, order: int) -> None:
    below = tar(folder("d"), Made("d/a", b"a"), folder("d/sub"), Made("d/sub/x", b"x"))
    own = [Made("d/.wh..wh..opq"), Made("d/new", b"new"), Made("d/sub/y", b"y")]
    above = tar(folder("d"), *(own if order == 0 else own[::-1]))
    assert unpacked(root, below, above) == {"d": "dir", "d/new": "new", "d/sub": "dir", "d/sub/y": "y"}


def test_a_whiteout_beside_its_own_replacement_keeps_the_replacement(root: Path) -> None:
    below = tar(folder("d"), Made("d/old", b"old"), Made("f", b"old"))
    above = tar(folder("d"), Made("d/new", b"new"), Made(".wh.d"), Made("f", b"new"), Made(".wh.f"))
    assert unpacked(root, below, above) == {"d": "dir", "d/new": "new", "f": "new"}


def test_kinds_change_from_layer_to_layer(root: Path) -> None:
    below = tar(folder("a"), Made("a/x", b"x"), Made("b", b"file"), symlink("c", "/outside"))
    above = tar(Made("a", b"now a file"), folder("b"), Made("b/y", b"y"), Made("c/z", b"z"))
    assert unpacked(root, below, above) == {"a": "now a file", "b": "dir", "b/y": "y", "c": "dir", "c/z": "z"}


def test_overlay_form_writes_whiteouts_as_overlayfs_reads_them(root: Path) -> None:
    if False in FORMS:
        unpacked(root, tar(Made("d/.wh..wh..opq"), Made(".wh.gone"), Made(".wh.e"), folder("e")), flat=False)
        status = (root / "gone").lstat()
        assert stat.S_ISCHR(status.st_mode)
        assert status.st_rdev == os.makedev(0, 0)
        assert [os.getxattr(root / name, "trusted.overlay.opaque") for name in ("d", "e")] == [b"y", b"y"]
    else:
        with pytest.raises(PermissionError):
            unpacked(root, tar(Made("d/.wh..wh..opq")), flat=False)


MALICIOUS = {
    "parent": [Made("../outside/evil", b"x")],
    "parent inside": [Made("a/../../outside/evil", b"x")],
    "absolute": [Made("/tmp/evil", b"x")],
    "through a link": [symlink("a", "../outside"), Made("a/secret", b"evil")],
    "through an absolute link": [symlink("a", "/"), Made("a/tmp/evil", b"x")],
    "through a link to itself": [symlink("a", "a"), Made("a/b", b"x")],
    "below a file": [Made("a", b"x"), Made("a/b", b"x")],
    "directory through a link": [symlink("a", "../outside"), folder("a/evil")],
    "link through a link": [symlink("a", "../outside"), symlink("a/evil", "x")],
    "hard link out": [hard_link("a", "../outside/secret")],
    "hard link absolute": [hard_link("a", "/etc/passwd")],
    "hard link through a link": [symlink("a", "../outside"), hard_link("b", "a/secret")],
    "hard link to a directory": [folder("d"), hard_link("e", "d")],
    "hard link to nothing": [hard_link("a", "b")],
    "hard link to itself": [hard_link("a", "a")],
    "character device": [device("null")],
    "block device": [Made("disk", kind=tarfile.BLKTYPE)],
    "whiteout of ..": [Made("d/.wh...")],
    "whiteout of .": [Made("d/.wh..")],
    "whiteout of nothing": [Made("d/.wh.")],
    "whiteout through a link": [symlink("a", "../outside"), Made("a/.wh.secret")],
    "opaque through a link": [symlink("a", "../outside"), Made("a/.wh..wh..opq")],
    "name too long": [Made("n" * 300, b"x")],
    "path too long": [Made("/".join(["d" * 200] * 30), b"x")],
    "owner of no system": [Made("f", b"x", pax={"uid": str(2**70)})],
}


@pytest.mark.parametrize("flat", FORMS)
@pytest.mark.parametrize("entries", MALICIOUS.values(), ids=MALICIOUS.keys())
def test_a_malicious_layer_is_refused_and_nothing_outside_is_touched(
    root: Path, entries: list[Made], flat: bool
) -> None:
    if entries == MALICIOUS["owner of no system"] and os.geteuid() != 0:
        entries = MALICIOUS["absolute"]  # who is not root sets no owners
    before = listing(root.parent / "outside")
    with pytest.raises(LayerRefused):
        unpacked(root, tar(Made("first", b"x"), *entries), flat=flat)
    assert listing(root.parent / "outside") == before == {"secret": "untouched"}
    assert not Path("/tmp/evil").exists()


def test_a_link_of_a_lower_layer_is_hidden_not_followed(root: Path) -> None:
    unpacked(
        root, tar(symlink("a", "../outside"), symlink("b", "/")), tar(Made("a/secret", b"inside"), Made("b/.wh.tmp"))
    )
    assert listing(root.parent / "outside") == {"secret": "untouched"}
    assert (root / "a/secret").read_text() == "inside"


def test_a_bomb_is_refused_before_it_fills_the_disk(root: Path) -> None:
    limits = UnpackLimits(total_bytes=1_000_000, entries=50)
    bomb = gzipped(tar(Made("zeros", b"\0" * 5_000_000)))
    assert len(bomb) < 10_000
    with pytest.raises(LayerRefused, match="more than 1000000 bytes"):
        unpack(io.BytesIO(bomb), root, flat=True, limits=limits)
    assert sum(path.stat().st_size for path in root.iterdir()) <= 1_000_000
    with pytest.raises(LayerRefused, match="more than 50 entries"):
        unpack(io.BytesIO(tar(*(Made(f"f{n}") for n in range(60)))), root, flat=True, limits=limits)
    trailing = gzipped(tar(Made("small", b"x")) + b"\0" * 5_000_000)
    with pytest.raises(LayerRefused, match="more than 1000000 bytes"):
        unpack(io.BytesIO(trailing), root, flat=True, limits=limits)


def test_a_huge_extended_header_is_never_read_into_memory(root: Path) -> None:
    header = tarfile.TarInfo("PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    with pytest.raises(LayerRefused, match="extended header"):
        unpack(io.BytesIO(header.tobuf() + b"\0" * 1024), root, flat=True)


def test_a_sparse_file_counts_what_it_becomes(root: Path) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    entry = Made("f", b"1\n0\n0\n".ljust(512, b"\0"), pax={**sparse, "GNU.sparse.name": "f"})
    with pytest.raises(LayerRefused):
        unpack(io.BytesIO(tar(entry)), root, flat=True, limits=UnpackLimits(total_bytes=10_000_000))


def test_attributes_that_overlayfs_obeys_are_not_taken_from_a_layer(root: Path) -> None:
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/outside", "SCHILY.xattr.user.kept": "yes"}
    unpacked(root, tar(Made("d", kind=tarfile.DIRTYPE, mode=0o755, pax=pax)))
    assert "trusted.overlay.redirect" not in os.listxattr(root / "d")


@pytest.mark.parametrize("data", [b"", b"not a tar" * 100, gzipped(b"x" * 1000)[:-9], b"\x1f\x8b\x08broken"])
def test_what_is_no_layer_is_refused(root: Path, data: bytes) -> None:
    with pytest.raises(LayerRefused):
        unpack(io.BytesIO(data), root, flat=True)


def test_an_empty_layer_is_fine(root: Path) -> None:
    assert unpacked(root, tar()) == {}


@given(st.text(st.characters(codec="utf-8")))
def test_a_clean_path_stays_inside(name: str) -> None:
    try:
        path = clean_path(name, "path")
    except LayerRefused:
        return
    assert not path.startswith("/")
    assert not {"..", ".", ""} & set(path.split("/")) or path == ""


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_give_a_layer_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = tar(folder("d"), Made("d/f", b"x" * 100), symlink("l", "d"), hard_link("h", "d/f"))
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:position] + data.draw(st.binary(min_size=1, max_size=20)) + whole[position + 1 :]
    root = tmp_path_factory.mktemp("any")
    try:
        unpack(io.BytesIO(changed), root, flat=True)
    except LayerRefused:
        return
    assert all(path.is_relative_to(root) for path in root.rglob("*"))
