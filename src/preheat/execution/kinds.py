"""What a function needs to run that others do not: the HTTP Runtime API, extensions beside the runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from preheat.kernel.function import FunctionVersion
from preheat.kernel.image import ImageProgram
from preheat.kernel.runtimes import is_custom

_BESIDE = 'for each in /opt/extensions/*; do if [ -f "$each" ] && [ -x "$each" ]; then "$each" & fi; done; exec "$@"'
"""The image's own shell starts its extensions, then becomes its entry point."""


def external_extensions(function: FunctionVersion) -> tuple[str, ...]:
    """The executables below `/opt/extensions`, from a function's layers or its image's, by name; of two with one name
    the later layer's. None with SnapStart: a template does not carry processes."""
    if function.snap_start:
        return ()
    image = function.image
    if image is None:
        places = [Path(layer, "extensions") for layer in function.layer_dirs]
    elif image.root:  # run by a process: its `layers` are what /opt shows
        places = [Path(layer, "extensions") for layer in image.layers]
    else:
        places = [Path(layer, "opt", "extensions") for layer in image.layers]
    found: dict[str, str] = {}
    for place in filter(Path.is_dir, places):
        for path in place.iterdir():
            found.pop(path.name, None)  # a white-out takes the file below it away
            if path.is_file():
                found[path.name] = str(path)
    return tuple(found[name] for name in sorted(found))


def runs_as_process(function: FunctionVersion) -> bool:
    """Whether a process of ours comes first in its environments, which may start and watch extensions."""
    return function.image is None or bool(function.image.root)


def needs_http(function: FunctionVersion) -> bool:
    """Whether its runtime or its extensions speak HTTP, whatever the transport of Python's client is."""
    return runs_as_process(function) and (is_custom(function.runtime) or bool(external_extensions(function)))


def with_extensions(image: ImageProgram) -> ImageProgram:
    """An image whose extensions nobody else starts: its shell does."""
    return replace(image, command=("/bin/sh", "-c", _BESIDE, "sh", *image.command))
