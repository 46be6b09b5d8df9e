"""Unpacking, copying and digesting code packages; above all, that nothing is written outside."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lambda_harness import zipped

from preheat.kernel.errors import AwsError
from preheat.services.lambda_ import archive


def link_zip(name: str, target: str, *more: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for link, points_to in ((name, target), *more):
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(entry, points_to)
    return buffer.getvalue()


def root_in(tmp_path: Path) -> Path:
    root = tmp_path / "outer" / "root"
    root.mkdir(parents=True)
    return root


def test_unzip_gives_files_with_their_content_and_the_program_bit(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("package/module.py", b"x = 1\n")
        program = zipfile.ZipInfo("bootstrap")
        program.external_attr = (stat.S_IFREG | 0o700) << 16
        made.writestr(program, b"#!/bin/sh\n")
        made.writestr("empty/", b"")
    archive.unzip(buffer.getvalue(), tmp_path)
    assert (tmp_path / "package" / "module.py").read_bytes() == b"x = 1\n"
    assert stat.S_IMODE((tmp_path / "package" / "module.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "bootstrap").stat().st_mode) == 0o755
    assert (tmp_path / "empty").is_dir()


def test_a_link_inside_is_kept(tmp_path: Path) -> None:
    data = link_zip("lib/current", "../real/v1")
    archive.unzip(data, tmp_path)
    assert (tmp_path / "lib" / "current").readlink() == Path("../real/v1")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..", "a/../b"])
def test_entries_that_leave_the_root_are_refused(tmp_path: Path, name: str) -> None:
    root = root_in(tmp_path)
    with pytest.raises(AwsError, match="would leave the package"):
        archive.unzip(zipped({name: b"boo"}), root)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "links",
    [
        [("a", "/etc/passwd")],
        [("a", "../../secret")],
        [("a", "..")],
        [("a", "."), ("b", "a/../..")],
        [("a", "../.."), ("a/b/c", "x")],
        [("a", "x/../y"), ("x", "."), ("a/z/w", "q")],
    ],
)
def test_links_that_leave_the_root_are_refused_and_never_followed(tmp_path: Path, links: list[tuple[str, str]]) -> None:
    root = root_in(tmp_path)
    first, *rest = links
    with pytest.raises(AwsError, match="points outside the package"):
        archive.unzip(link_zip(*first, *rest), root)
    outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(root)]
    assert outside == [tmp_path / "outer"]


def test_a_device_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        entry = zipfile.ZipInfo("null")
        entry.external_attr = (stat.S_IFCHR | 0o666) << 16
        made.writestr(entry, b"")
    with pytest.raises(AwsError, match="not a regular file"):
        archive.unzip(buffer.getvalue(), tmp_path)


@pytest.mark.parametrize("files", [{"a": b"file", "a/b": b"file in a file"}, {"n" * 300: b"too long a name"}])
def test_names_that_cannot_be_files_are_no_package(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(AwsError, match="Could not unzip uploaded file"):
        archive.unzip(zipped(files), tmp_path)


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"", "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        (b"PK\x05\x06" + bytes(18), "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        (b"not a zip", "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, "),
        (b"x" * 52_428_801, "RequestEntityTooLargeException", "Zipped size must be smaller than 52428800 bytes"),
    ],
)
def test_what_is_no_zip_is_refused_in_the_words_of_aws(tmp_path: Path, data: bytes, code: str, message: str) -> None:
    with pytest.raises(AwsError, match=message) as refusal:
        archive.unzip(data, tmp_path)
    assert refusal.value.code == code
    assert refusal.value.status == (413 if code.startswith("RequestEntity") else 400)


def test_a_bomb_is_stopped_by_what_it_really_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNZIPPED_BYTES", 3 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for number in range(9):
            made.writestr(f"zeros{number}", bytes(1 << 20))
    assert len(buffer.getvalue()) < 20_000
    with pytest.raises(AwsError, match="Unzipped size must be smaller than"):
        archive.unzip(buffer.getvalue(), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 << 20


def test_bytecode_does_not_count_against_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNZIPPED_BYTES", 1000)
    archive.unzip(zipped({"a.py": b"x" * 999, "__pycache__/a.pyc": b"y" * 5000}), tmp_path)
    assert (tmp_path / "__pycache__" / "a.pyc").stat().st_size == 5000


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), cut=st.integers(0, 200), flip=st.integers(0, 200))
def test_damaged_zips_give_an_aws_error_or_a_tree_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int, flip: int
) -> None:
    root = root_in(tmp_path_factory.mktemp("fuzz"))
    whole = bytearray(zipped({"a/b.py": data, "c.py": b"pass"}))
    whole[flip % len(whole)] ^= 0xFF
    refusal = None
    try:
        archive.unzip(bytes(whole[: len(whole) - cut]), root)
    except AwsError as error:
        refusal = error
    assert refusal is None or refusal.code == "InvalidParameterValueException"
    assert [path.name for path in root.parent.iterdir()] == ["root"]


def test_a_directory_is_copied_with_times_links_and_without_the_servers_data(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "package").mkdir(parents=True)
    target.mkdir()
    (source / "package" / "m.py").write_text("x = 1\n")
    os.utime(source / "package" / "m.py", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    (source / "inside").symlink_to("package/m.py")
    (tmp_path / "model.bin").write_bytes(b"weights")
    (source / "outside").symlink_to(tmp_path / "model.bin")
    (source / ".preheat").mkdir()
    (source / ".preheat" / "lambda.db").write_text("state")
    archive.copy_tree(source, target, source / ".preheat")
    assert (target / "package" / "m.py").stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert (target / "inside").readlink() == Path("package/m.py")
    assert not (target / "outside").is_symlink()
    assert (target / "outside").read_bytes() == b"weights"
    assert not (target / ".preheat").exists()


@pytest.mark.parametrize("make", ["pipe", "dangling", "directory"])
def test_what_cannot_be_packaged_is_named(tmp_path: Path, make: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    if make == "pipe":
        os.mkfifo(source / "thing")
    elif make == "dangling":
        (source / "thing").symlink_to(tmp_path / "nowhere")
    else:
        (source / "thing").symlink_to(tmp_path)
    with pytest.raises(AwsError, match="'thing'"):
        archive.copy_tree(source, target, tmp_path / "data")


@pytest.mark.parametrize("path", ["relative/path", "/no/such/directory/at/all"])
def test_only_an_absolute_directory_can_be_copied(tmp_path: Path, path: str) -> None:
    with pytest.raises(AwsError, match="must name an absolute directory"):
        archive.copy_tree(Path(path), tmp_path, tmp_path / "data")


def test_the_digest_follows_what_would_run_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x = 1\n")
    before = archive.digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "m.cpython-311.pyc").write_bytes(b"bytecode")
    os.utime(tmp_path / "m.py", (1, 1))
    assert archive.digest(tmp_path) == before
    assert before[1] == 6
    (tmp_path / "m.py").write_text("x = 2\n")
    changed = archive.digest(tmp_path)
    assert changed != before
    (tmp_path / "m.py").rename(tmp_path / "n.py")
    renamed = archive.digest(tmp_path)
    assert renamed != changed
    (tmp_path / "n.py").chmod(0o755)
    assert archive.digest(tmp_path) != renamed


def test_a_tree_zips_to_the_same_bytes_and_unzips_to_the_same_digest(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "package").mkdir(parents=True)
    target.mkdir()
    (source / "package" / "m.py").write_text("x = 1\n")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("run")
    data = archive.zip_tree(source)
    os.utime(source / "package" / "m.py", (1, 1))
    assert archive.zip_tree(source) == data
    archive.unzip(data, target)
    assert archive.digest(target) == archive.digest(source)
