"""Lambda's Python images without containers: their files, run by this machine's own interpreter of that version."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.kernel.image import ImageProgram, ImageSource, ResolvedImage

_ENTRY_POINT = "/lambda-entrypoint.sh"
"""Of every Lambda base image; it and the bootstrap behind it do what our own client does in their place."""
_PREFIX = "var/lang"
"""Where Lambda's base images have their interpreter."""
_PYTHON = re.compile(r"python3\.\d+")
_OF_THE_FUNCTION = ("/var/task", "/opt", "/var/lang/lib/python3")
"""What an image's search paths name that holds the function's own files; the rest is the base image's system."""
_PATHS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")


class ProcessImages:
    """The `ImagePreparer` of the process sandbox. `interpreter` raises PreheatError naming the Python that is missing.

    A program's layers are then what /opt shows, its working directory and search paths lie in the unpacked image.
    """

    def __init__(self, source: ImageSource, interpreter: Callable[[str], Path]) -> None:
        self._source = source
        self._interpreter = interpreter

    async def prepare(self, image: ResolvedImage) -> ImageProgram:
        root = await asyncio.to_thread(self._source.flat_directory, image)
        runtime = _runtime(root)
        if runtime is None:
            raise PreheatError(
                f"the image {image.uri} is not based on a Lambda Python image (it has no /{_PREFIX}/bin/python3.*): "
                "only containers can run it, and this machine has none (preheat doctor says why)"
            )
        await asyncio.to_thread(self._interpreter, runtime)
        opt = root / "opt"
        layers = (str(opt),) if opt.is_dir() and any(opt.iterdir()) else ()
        return ImageProgram(layers=layers, command=(), root=str(root), runtime=runtime)

    def fit(self, program: ImageProgram) -> ImageProgram:
        if program.command[:1] != (_ENTRY_POINT,) or len(program.command) != 2:
            raise PreheatError(
                f"the image's command is {' '.join(program.command) or 'empty'}: without containers it must be "
                f"{_ENTRY_POINT} and the handler's name (preheat doctor says what containers take)"
            )
        directory = _inside(program.root, program.working_dir)
        if not Path(directory).is_dir():
            raise PreheatError(f"the image has no directory {program.working_dir} to work in")
        return replace(program, working_dir=directory, environ=_environ(program, directory))

    def keep(self, digests: Collection[str]) -> None:
        """The source collects its directories by itself."""


def _runtime(root: Path) -> str | None:
    """ "python3.11" of a Lambda Python image."""
    if not (root / "var/runtime").is_dir():
        return None
    found = [path.name for path in (root / _PREFIX / "bin").glob("python3.*") if _PYTHON.fullmatch(path.name)]
    return min(found) if found else None


def _inside(root: str, path: str) -> str:
    return root + os.path.normpath(f"/{path}").replace("//", "/")


def _environ(program: ImageProgram, directory: str) -> Mapping[str, str]:
    """The image's variables, its search paths led to where its files are; its packages on PYTHONPATH."""
    environ = dict(program.environ)
    for name in _PATHS:
        if name in environ:
            environ[name] = os.pathsep.join(_led(program, name, environ[name].split(":")))
    modules = [environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else []
    task = _inside(program.root, "/var/task")
    modules += [task] if directory != task else []
    modules.append(_inside(program.root, f"/{_PREFIX}/lib/{program.runtime}/site-packages"))
    environ["PYTHONPATH"] = os.pathsep.join(modules)
    return {**environ, "AWS_EXECUTION_ENV": f"AWS_Lambda_{program.runtime}"}


def _led(program: ImageProgram, name: str, paths: list[str]) -> list[str]:
    """Programs of the base's system are this machine's; its libraries are not for this machine's programs."""
    found = []
    for path in paths:
        if path.startswith(_OF_THE_FUNCTION):
            found.append(_inside(program.root, path))
        elif path and name == "PATH":
            found.append(path)
    return found
