"""The code store: packages by their SHA-256, unpacked once, compiled once per runtime, shared by functions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import shutil
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.runtimes import LAYERS_ROOT, TASK_ROOT, is_custom
from preheat.services.lambda_ import archive
from preheat.services.lambda_.failures import invalid

_TEMPORARY = ".tmp-"
_CODE_NAME = re.compile(r"^([0-9a-f]{64})(?:\.zip|\.python3\.\d+\.compiled)?$")
_DOWNLOAD = re.compile(r"^/_preheat/code/([0-9a-f]{64})\.zip$")
_FILES_PER_WORKER = 40
"""Below this many modules a second compiler process costs more (about 50 ms to start) than it saves."""


@dataclass(frozen=True, slots=True)
class CodePackage:
    """`sha256` is base64 as in CodeSha256: of the zip, or of a directory's listing. `size_bytes` is CodeSize."""

    sha256: str
    size_bytes: int

    @property
    def code_id(self) -> str:
        return base64.b64decode(self.sha256).hex()


class CodeStore:
    """Trees `<data_dir>/code/<code id>/`, beside them the uploaded zip and a mark for each runtime compiled.

    A tree appears whole or not at all (it is renamed into place), so `kill -9` at any moment leaves at most
    a temporary directory that the next `sweep` removes. `interpreter` gives the Python of a runtime's name
    and raises PreheatError where this machine has none.
    """

    def __init__(self, data_dir: Path, interpreter: Callable[[str], Path]) -> None:
        self._data_dir = data_dir.absolute()
        self._root = self._data_dir / "code"
        self._root.mkdir(parents=True, exist_ok=True)
        self._interpreter = interpreter
        self._pins: Counter[str] = Counter()

    def path(self, code_id: str) -> Path:
        """Where the code's tree is: a function's /var/task."""
        return self._root / code_id

    def interpreter(self, runtime: str) -> Path:
        """Raises AwsError InvalidParameterValueException for a runtime this machine cannot run."""
        try:
            return self._interpreter(runtime)
        except PreheatError as error:
            raise invalid(str(error)) from error

    @asynccontextmanager
    async def adding(self, source: bytes | Path) -> AsyncIterator[CodePackage]:
        """Unpack a zip (bytes) or copy a directory (Path); while the context is open `collect` spares it.

        Raises AwsError in AWS's words for a package that is none.
        """
        work = self._root / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            package = await asyncio.to_thread(self._prepare, source, work)
            self._publish(work, package.code_id)
            self._pins[package.code_id] += 1
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        try:
            yield package
        finally:
            self._pins[package.code_id] -= 1

    def _prepare(self, source: bytes | Path, work: Path) -> CodePackage:
        """Make `work/tree` (and `work/zip` for an upload). Runs in a thread."""
        tree = work / "tree"
        tree.mkdir(parents=True)
        if isinstance(source, Path):
            archive.copy_tree(source, tree, self._data_dir)
            digest, size = archive.digest(tree)
            return CodePackage(base64.b64encode(digest).decode(), size)
        archive.unzip(source, tree)
        (work / "zip").write_bytes(source)
        return CodePackage(base64.b64encode(hashlib.sha256(source).digest()).decode(), len(source))

    def _publish(self, work: Path, code_id: str) -> None:
        """Rename the parts into place unless the same code is there already. Runs on the event loop's thread,
        as `collect` does, so neither sees the other half done."""
        if self.path(code_id).exists():
            return
        if (work / "zip").exists():
            (work / "zip").replace(self._root / f"{code_id}.zip")
        (work / "tree").replace(self.path(code_id))

    async def compile_all(self, code_ids: Sequence[str], runtime: str) -> None:
        """`compile` a function's code, the first, and its layers'; `code_ids` is empty for an image."""
        for place, code_id in zip(chain([TASK_ROOT], repeat(LAYERS_ROOT)), code_ids, strict=False):
            await self.compile(code_id, runtime, place)

    async def compile(self, code_id: str, runtime: str, shown_at: str = TASK_ROOT) -> None:
        """Write the .pyc files of every module with the runtime's own interpreter, on all cores; once.

        They carry the names that the modules have where they are `shown_at`: else every import renames all that
        it loads (importlib, `_fix_co_filename`). A module that does not compile is left to fail at init, as on AWS.
        What a custom runtime runs is its own.
        """
        if is_custom(runtime):
            return
        mark = self._root / f"{code_id}.{runtime}.compiled"
        if mark.exists():
            return
        tree = self.path(code_id)
        modules = await asyncio.to_thread(archive.python_files, tree)
        if modules:
            workers = max(1, min(os.cpu_count() or 1, modules // _FILES_PER_WORKER))
            command = [str(self.interpreter(runtime)), "-I", "-m", "compileall", "-q", "-j", str(workers)]
            await _run_quietly([*command, "-d", shown_at, str(tree)])
        mark.touch()

    async def check_combined(self, code_ids: Sequence[str]) -> None:
        """Raises AwsError in AWS's words where a function's code and layers together are past the quota."""
        sizes = [await asyncio.to_thread(archive.unpacked_bytes, self.path(code_id)) for code_id in code_ids]
        if sum(sizes) > archive.MAX_UNZIPPED_BYTES:
            raise invalid(
                "Function code combined with layers exceeds the maximum allowed size of "
                f"{archive.MAX_UNZIPPED_BYTES} bytes. The actual size is {sum(sizes)} bytes."
            )

    async def zipped(self, code_id: str) -> bytes | None:
        """The package as a zip: the very bytes uploaded, or a zip of the directory; None if not stored."""
        uploaded, tree = self._root / f"{code_id}.zip", self.path(code_id)
        if uploaded.exists():
            return await asyncio.to_thread(uploaded.read_bytes)
        return await asyncio.to_thread(archive.zip_tree, tree) if tree.exists() else None

    async def download(self, request: HttpRequest) -> HttpResponse:
        """Answer GET /_preheat/code/<code id>.zip, where GetFunction's Code.Location points."""
        match = _DOWNLOAD.match(request.path)
        content = await self.zipped(match[1]) if match else None
        if content is None:
            return HttpResponse(404, [("Content-Type", "text/plain")], b"no such code package\n")
        return HttpResponse(200, [("Content-Type", "application/zip")], content)

    async def collect(self, keep: Collection[str]) -> list[str]:
        """Remove the packages that are neither in `keep` (code ids) nor being added; returns their ids."""
        doomed: set[str] = set()
        trash: list[Path] = []
        for path in list(self._root.iterdir()):
            match = _CODE_NAME.match(path.name)
            if match and match[1] not in keep and not self._pins[match[1]]:
                doomed.add(match[1])
                trash.append(path.rename(self._root / f"{_TEMPORARY}{uuid.uuid4().hex}"))
        await asyncio.to_thread(_remove, trash)
        return sorted(doomed)

    async def sweep(self) -> None:
        """Remove what an interrupted server left half done. Only before the first `adding`."""
        await asyncio.to_thread(_remove, list(self._root.glob(f"{_TEMPORARY}*")))


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


async def _run_quietly(command: list[str]) -> None:
    """Run to the end without output; kill the process if the waiting task is cancelled."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
