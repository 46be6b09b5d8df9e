"""What a container image is to those who run functions from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class ImageMissing(Exception):
    """No such repository, tag or digest; the text is the image URI as asked for."""


class ImageUnsupported(Exception):
    """It is there but no single image for one platform; the text is one line saying why and what to do."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image at one moment: what a tag meant when it was asked for. Never changes."""

    uri: str
    """`<registry>/<repository>@sha256:<digest>`: ResolvedImageUri."""
    digest: str
    architecture: str
    """In Lambda's words: x86_64 or arm64."""
    config: Mapping[str, Any]
    """The `config` of the image's configuration: Entrypoint, Cmd, WorkingDir, Env, User (image-spec, config.md)."""
    layers: tuple[str, ...]
    """Digests of the uncompressed layers (diff ids), lowest first."""
    size_bytes: int
    """Of the compressed layers and the configuration: what was pushed."""
    blobs: tuple[str, ...] = ()
    """Digests of the same layers as they were pushed: what to unpack."""


@dataclass(frozen=True, slots=True)
class ImageProgram:
    """What an environment of an image function runs: the image, its configuration overridden by the function's."""

    layers: tuple[str, ...]
    """Directories, lowest first; none where it is run by its `name`; where a process runs it, what /opt shows."""
    command: tuple[str, ...]
    """Entry point and command in one."""
    working_dir: str = "/"
    environ: Mapping[str, str] = field(default_factory=dict)
    """The image's own variables."""
    name: str = ""
    """What Docker's engine knows it by."""
    root: str = ""
    """The directory with all of its files, where a process of this machine's own interpreter runs them."""
    runtime: str = ""
    """That interpreter, "python3.11" and the like; the image's own where this is ""."""


class ImageSource(Protocol):
    """Where functions get their images from."""

    def resolve(self, image_uri: str) -> ResolvedImage:
        """What an image URI means now. The registry's host is not looked at: this is the only registry there is.

        Raises ImageMissing and ImageUnsupported. Quick: reads metadata only.
        """

    def pin(self, holder: str, digest: str) -> None:
        """Keep an image for `holder` (a function's revision) even where it is deleted from its repository, and over
        restarts. What the holder held before is let go."""

    def unpin(self, holder: str) -> None:
        """The holder needs it no more. No harm where it holds nothing."""

    def pinned(self) -> Collection[str]:
        """Digests of the images that somebody holds."""

    def layer_files(self, image: ResolvedImage) -> tuple[Path, ...]:
        """Each layer as it was pushed, lowest first."""

    def layer_directories(self, image: ResolvedImage) -> tuple[Path, ...]:
        """Each layer's own directory, lowest first, for an overlay mount; white-outs are overlayfs's own.

        Unpacks what is not unpacked yet (seconds: call it from a thread). The directories are shared and must
        never be written to. Needs root; raises PreheatError where this is not root or a layer is refused.
        """

    def flat_directory(self, image: ResolvedImage) -> Path:
        """All layers applied in one directory, which works without root. Slow the first time, shared, never written."""


class ImagePreparer(Protocol):
    """Makes images ready for one kind of sandbox."""

    async def prepare(self, image: ResolvedImage) -> ImageProgram:
        """What an environment needs of the image: all but command, working directory and variables, which are the
        function's to override. Takes seconds the first time. Raises PreheatError in a sentence."""

    def fit(self, program: ImageProgram) -> ImageProgram:
        """The program, with the function's overrides in it, as this kind of sandbox can run it. Raises PreheatError
        where it cannot."""

    def keep(self, digests: Collection[str]) -> None:
        """No function needs any other image from now on."""
