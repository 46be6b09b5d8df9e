"""One command of an image's build, as a value, and who can run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of this machine that the command sees at `target`."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class BuildCommand:
    """What a RUN runs. `layers` are directories, lowest first, white-outs as overlayfs has them; nothing is written
    to them. `work` is a directory of the command's own, on a file system that can hold an overlay's upper layer."""

    layers: tuple[Path, ...]
    work: Path
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    working_dir: str
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    network: bool = True
    """The machine's network; without it loopback alone."""
    mounts: tuple[Mount, ...] = ()


class BuildRunner(Protocol):
    """Runs commands in containers over an image's layers."""

    def run(self, command: BuildCommand, say: Say) -> Path:
        """Run it to its end, its output told line by line; returns the directory with what it has changed, in
        overlayfs's own form, below `command.work`. Nothing stays mounted and no process is left, whatever happens.

        Raises RuntimeError in a sentence where it cannot be started or does not exit with 0.
        """
