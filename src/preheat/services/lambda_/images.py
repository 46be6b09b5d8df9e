"""Container images as functions have them: resolved once, pinned while held, unpacked before they serve."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.image import ImageMissing, ImageProgram, ImageSource, ImageUnsupported, ResolvedImage
from preheat.services.lambda_.failures import invalid, not_built

_MOST_LAYERS = 50
"""mount(2) takes a page of options, and each layer's directory takes 72 bytes of it; more are unpacked into one."""
_ARCHITECTURES = {"aarch64": "arm64"}


class Images:
    """`source` is None where this machine or setting cannot run images: then functions of them are refused."""

    def __init__(self, source: ImageSource | None) -> None:
        self._source = source
        self._directories: dict[str, tuple[str, ...]] = {}

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
        if self._source is not None:
            self._source.unpin(holder)

    async def unpack(self, image: ResolvedImage) -> None:
        """Raises AwsError InvalidImage (a StateReasonCode) where the image cannot be unpacked here."""
        source = self._needed()
        try:
            if len(image.layers) > _MOST_LAYERS:
                paths: tuple[Path, ...] = (await asyncio.to_thread(source.flat_directory, image),)
            else:
                paths = await asyncio.to_thread(source.layer_directories, image)
        except PreheatError as error:
            raise AwsError("InvalidImage", str(error)) from error
        self._directories[image.digest] = tuple(map(str, paths))

    def program(self, image: ResolvedImage, overrides: Mapping[str, Any]) -> ImageProgram:
        """What to run of an unpacked image; `overrides` is the function's ImageConfig, each member for itself."""
        entry_point = overrides.get("EntryPoint") or image.config.get("Entrypoint") or []
        command = overrides.get("Command") or image.config.get("Cmd") or []
        return ImageProgram(
            layers=self._directories[image.digest],
            command=(*entry_point, *command),
            working_dir=overrides.get("WorkingDirectory") or image.config.get("WorkingDir") or "/",
            environ=dict(variable.partition("=")[::2] for variable in image.config.get("Env") or []),
        )

    def _needed(self) -> ImageSource:
        if self._source is None:
            raise not_built("PackageType Image")
        return self._source


class NoImages:
    """The `ImageSource` of a machine that cannot run containers: functions of images are refused, saying why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def resolve(self, image_uri: str) -> ResolvedImage:
        raise invalid(f"Functions from container images cannot run on this machine: {self._why}")

    def pin(self, holder: str, digest: str) -> None:
        """Nothing is resolved, so nothing is held."""

    def unpin(self, holder: str) -> None:
        """Of a data directory that another machine has written, whose images may stay."""

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
        check_snap_start((params.get("SnapStart") or {}).get("ApplyOn"))
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
        raise invalid("Please do not provide ImageUri when updating a function with packageType Zip.")


def check_configuration_members(package_type: str, fields: Mapping[str, Any]) -> None:
    """UpdateFunctionConfiguration, by `Function`'s fields (words unverified)."""
    if package_type == "Image":
        check_snap_start(fields.get("snap_start"))
    if package_type == "Image" and fields.keys() & {"runtime", "handler", "layers"}:
        raise invalid("Please don't provide Handler or Runtime or Layer for a function with packageType Image.")
    if package_type == "Zip" and fields.get("image_config"):
        raise invalid("Please do not provide ImageConfig for a function with packageType Zip.")


def check_snap_start(apply_on: str | None) -> None:
    if apply_on == "PublishedVersions":
        raise not_built("SnapStart of functions from container images")
