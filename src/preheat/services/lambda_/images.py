"""Container images as functions have them: resolved once, pinned while held, unpacked before they serve."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.image import (
    ImageMissing,
    ImagePreparer,
    ImageProgram,
    ImageSource,
    ImageUnsupported,
    ResolvedImage,
)
from preheat.services.lambda_.failures import invalid, not_built

_MOST_LAYERS = 50
"""mount(2) takes a page of options, and each layer's directory takes 72 bytes of it; more are unpacked into one."""
_ARCHITECTURES = {"aarch64": "arm64"}


class LayerImages:
    """The `ImagePreparer` of the container sandbox: a directory for each layer."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    async def prepare(self, image: ResolvedImage) -> ImageProgram:
        if len(image.layers) > _MOST_LAYERS:
            paths: tuple[Path, ...] = (await asyncio.to_thread(self._source.flat_directory, image),)
        else:
            paths = await asyncio.to_thread(self._source.layer_directories, image)
        return ImageProgram(layers=tuple(map(str, paths)), command=())

    def fit(self, program: ImageProgram) -> ImageProgram:
        return program

    def keep(self, digests: Collection[str]) -> None:
        """The source collects its directories by itself."""


class Images:
    """`source` is None where this machine or setting cannot run images: then functions of them are refused."""

    def __init__(self, source: ImageSource | None, preparer: ImagePreparer | None = None) -> None:
        self._source = source
        self._preparer = preparer or (LayerImages(source) if source is not None else None)
        self._prepared: dict[str, ImageProgram] = {}

    def resolve(self, uri: str, architecture: str) -> ResolvedImage:
        """What the URI means now. Raises AwsError in AWS's words, and what to do where there is something to do.

        An image for another architecture is refused here; on AWS its function fails when it starts (unverified).
        """
        try:
            image = self._needed().resolve(uri)
        except ImageMissing as error:
            raise invalid(f"Source image {uri} does not exist. Provide a valid source image.") from error
        except ImageUnsupported as error:
            raise invalid(
                f"The image manifest, config or layer media type for the source image {uri} is not supported. ({error})"
            ) from error
        own = _ARCHITECTURES.get(platform.machine(), platform.machine())
        for wanted, whose in ((architecture, "the function's Architectures say"), (own, "this machine is")):
            if image.architecture != wanted:
                raise invalid(f"The source image {uri} is for {image.architecture}, but {whose} {wanted}.")
        return image

    def pin(self, holder: str, image: ResolvedImage) -> None:
        self._needed().pin(holder, image.digest)

    def unpin(self, holder: str) -> None:
        """No harm where it holds nothing."""
        if self._source is not None and self._preparer is not None:
            self._source.unpin(holder)
            self._preparer.keep(self._source.pinned())

    async def unpack(self, image: ResolvedImage, overrides: Mapping[str, Any]) -> None:
        """Make it ready to run. Raises AwsError InvalidImage (a StateReasonCode) where that cannot be done here."""
        self._needed()
        assert self._preparer is not None
        try:
            self._prepared[image.digest] = await self._preparer.prepare(image)
            self.program(image, overrides)
        except PreheatError as error:
            raise AwsError("InvalidImage", str(error)) from error

    def program(self, image: ResolvedImage, overrides: Mapping[str, Any]) -> ImageProgram:
        """What to run of an unpacked image; `overrides` is the function's ImageConfig, each member for itself."""
        entry_point = overrides.get("EntryPoint") or image.config.get("Entrypoint") or []
        command = overrides.get("Command") or image.config.get("Cmd") or []
        assert self._preparer is not None
        return self._preparer.fit(
            replace(
                self._prepared[image.digest],
                command=(*entry_point, *command),
                working_dir=overrides.get("WorkingDirectory") or image.config.get("WorkingDir") or "/",
                environ=dict(variable.partition("=")[::2] for variable in image.config.get("Env") or []),
            )
        )

    def _needed(self) -> ImageSource:
        if self._source is None:
            raise not_built("PackageType Image")
        return self._source


class NoImages:
    """The `ImageSource` where images cannot be run as the setting says: functions of them are refused, saying why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def resolve(self, image_uri: str) -> ResolvedImage:
        raise invalid(f"Functions from container images cannot run on this machine: {self._why}")

    def pin(self, holder: str, digest: str) -> None:
        """Nothing is resolved, so nothing is held."""

    def unpin(self, holder: str) -> None:
        """Of a data directory that another machine has written, whose images may stay."""

    def pinned(self) -> Collection[str]:
        return ()

    def layer_files(self, image: ResolvedImage) -> tuple[Path, ...]:
        raise PreheatError(f"functions from container images cannot run on this machine: {self._why}")

    def layer_directories(self, image: ResolvedImage) -> tuple[Path, ...]:
        raise PreheatError(f"functions from container images cannot run on this machine: {self._why}")

    def flat_directory(self, image: ResolvedImage) -> Path:
        raise PreheatError(f"functions from container images cannot run on this machine: {self._why}")


def check_members(params: Mapping[str, Any]) -> None:
    """What CreateFunction must and must not be given for its package type."""
    if params.get("PackageType") == "Image":
        if params.get("Runtime") or params.get("Handler") or params.get("Layers"):
            raise invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
            )
        if not params["Code"].get("ImageUri"):
            raise invalid("Please provide ImageUri when creating a function with packageType Image.")
        return
    if not params.get("Runtime") or not params.get("Handler"):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    if params.get("ImageConfig") or params["Code"].get("ImageUri"):
        raise invalid("Please do not provide ImageConfig or ImageUri when creating a function with packageType Zip.")


def check_code_members(package_type: str, params: Mapping[str, Any]) -> None:
    """UpdateFunctionCode cannot change the package type."""
    if package_type == "Image" and not params.get("ImageUri"):
        raise invalid("Please provide ImageUri when updating a function with packageType Image.")
    if package_type == "Zip" and params.get("ImageUri"):
        raise invalid("Please don't provide ImageUri when updating a function with packageType Zip.")


def check_configuration_members(package_type: str, fields: Mapping[str, Any]) -> None:
    """UpdateFunctionConfiguration, by `Function`'s fields (words unverified)."""
    if package_type == "Image" and fields.keys() & {"runtime", "handler", "layers"}:
        raise invalid("Please don't provide Handler or Runtime or Layer for a function with packageType Image.")
    if package_type == "Zip" and fields.get("image_config"):
        raise invalid("Please do not provide ImageConfig for a function with packageType Zip.")
