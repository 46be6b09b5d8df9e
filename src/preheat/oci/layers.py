"""Layers unpacked once, in directories named by what they hold."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.oci.blobs import BlobStore
from preheat.oci.digest import hex_of
from preheat.oci.tarstream import LayerRefused
from preheat.oci.unpack import UnpackLimits, unpack

_WORK = ".work-"


@dataclass(frozen=True, slots=True)
class Layer:
    """`digest` names the compressed blob, `diff_id` what is in it (image-spec, config.md)."""

    digest: str
    diff_id: str


def chain_id(diff_ids: Sequence[str]) -> str:
    """One name for layers applied on each other (config.md, "Layer ChainID"). Raises IndexError for none."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


class LayerStore:
    """`<root>/layers/<diff id>` one layer each, `<root>/flat/<chain id>` all of an image in one.

    A directory appears whole or not at all; what a killed process left is removed by `collect`. From any thread.
    A directory's ctime says when it was last asked for (its mtime is the image's own).
    """

    def __init__(self, root: Path, blobs: BlobStore, limits: UnpackLimits | None = None) -> None:
        self._root = root.absolute()
        self._blobs = blobs
        self._limits = limits or UnpackLimits()
        self._lock = threading.Lock()
        for name in ("layers", "flat"):
            (self._root / name).mkdir(parents=True, exist_ok=True)
            (self._root / name).chmod(0o700)  # an image's set-user-id programs are not for this machine's users

    def directories(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        """Each layer's directory, lowest first, for overlayfs; needs root. Raises LayerRefused, FileNotFoundError."""
        return tuple(self._made(self._root / "layers" / hex_of(layer.diff_id), [layer], flat=False) for layer in layers)

    def flat(self, layers: Sequence[Layer]) -> Path:
        """One directory with all of them applied. Raises LayerRefused, FileNotFoundError."""
        chain = chain_id([layer.diff_id for layer in layers])
        return self._made(self._root / "flat" / hex_of(chain), layers, flat=True)

    def collect(
        self, diff_ids: Collection[str], chain_ids: Collection[str], older_than_s: float, in_use: Collection[str] = ()
    ) -> int:
        """Remove directories not among these, nor `in_use` (their paths), last asked for before `older_than_s`; returns
        how many went."""
        keep = {"layers": {hex_of(name) for name in diff_ids}, "flat": {hex_of(name) for name in chain_ids}}
        count = 0
        for folder, names in keep.items():
            for path in (self._root / folder).iterdir():
                if path.name in names or str(path) in in_use:
                    continue
                with self._lock:  # nobody is given a directory that goes
                    doomed = self._hidden(path) if path.lstat().st_ctime < older_than_s else None
                if doomed is not None:
                    _delete(doomed)
                    count += 1
        return count

    def _made(self, target: Path, layers: Sequence[Layer], *, flat: bool) -> Path:
        with self._lock:
            if target.is_dir():
                _touch(target)
            else:
                self._make(target, layers, flat=flat)
        return target

    def _make(self, target: Path, layers: Sequence[Layer], *, flat: bool) -> None:
        work = target.parent / f"{_WORK}{uuid.uuid4().hex}"
        work.mkdir(mode=0o755)
        try:
            for layer in layers:
                with self._blobs.path(layer.digest).open("rb") as file:
                    diff_id = unpack(file, work, flat=flat, limits=self._limits)
                if diff_id != layer.diff_id:
                    raise LayerRefused(f"layer {layer.digest} holds {diff_id}, its image says {layer.diff_id}")
            work.rename(target)
        except BaseException:
            _delete(work)
            raise

    @staticmethod
    def _hidden(path: Path) -> Path:
        """The directory under a name that nobody asks for: half removed it must not look whole."""
        return path.rename(path.parent / f"{_WORK}{uuid.uuid4().hex}")


def _touch(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode))


def _delete(path: Path) -> None:
    if os.geteuid() != 0:
        for folder, _, _ in os.walk(path):
            Path(folder).chmod(0o700)
    shutil.rmtree(path)
