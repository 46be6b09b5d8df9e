"""Which functions exist, which revision of each serves right now, and how a new revision comes to serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from preheat.kernel.arn import function_arn, parse_function
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invoker
from preheat.services.lambda_ import models
from preheat.services.lambda_.code import CodeStore
from preheat.services.lambda_.failures import conflict, function_not_found, invalid, not_found, not_now
from preheat.services.lambda_.models import LATEST, Function
from preheat.services.lambda_.store import FunctionStore

_log = logging.getLogger(__name__)


class FunctionRegistry:
    """A `FunctionDirectory` over the store.

    A new function is Pending and an updated one InProgress until its code is compiled; meanwhile the old
    revision serves. All methods run on the event loop's thread.
    """

    def __init__(self, store: FunctionStore, code: CodeStore, invoker: Invoker, region: str, account_id: str) -> None:
        self.store = store
        self._code = code
        self._invoker = invoker
        self._region = region
        self._account_id = account_id
        self._serving: dict[str, FunctionVersion] = {}
        self._finishing: dict[str, asyncio.Task[None]] = {}
        self._busy: set[str] = set()
        for function in store:
            if function.state == "Active":
                self._serve(function)

    async def start(self) -> None:
        """After a restart: finish what was still Pending or InProgress, and throw away what nothing uses."""
        await self._code.sweep()
        for function in self.store:
            if function.state == "Pending" or function.update_status == "InProgress":
                self._finish_later(function, function)
        await self.collect()

    async def close(self) -> None:
        """Stop compiling; what is unfinished is finished after the next start."""
        tasks = list(self._finishing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.store.close()

    async def collect(self, in_use: Iterable[str] = ()) -> list[str]:
        """Remove code that no function names; `in_use` are the code_dirs of environments still alive."""
        kept = {function.code_id for function in self.store}
        kept.update(version.code_dir.rpartition("/")[2] for version in self._serving.values())
        kept.update(code_dir.rstrip("/").rpartition("/")[2] for code_dir in in_use)
        return await self._code.collect(kept)

    # finding

    def arn(self, name: str) -> str:
        return function_arn(self._region, self._account_id, name)

    def resolve(self, identifier: str, qualifier: str | None = None) -> FunctionVersion:
        """The revision to run. Raises AwsError 404, or 409 while the function is Pending."""
        if qualifier is None:
            version = self._serving.get(identifier)
            if version is not None:
                return version
        name, qualifier = self.parse(identifier, qualifier)
        function = self.store.get(name)
        if function is None or qualifier not in (None, LATEST):
            raise function_not_found(f"{self.arn(name)}:{qualifier or LATEST}")
        version = self._serving.get(name)
        if version is None:
            raise not_now(f"The function is currently in the following state: {function.state}")
        return version

    def find(self, identifier: str, qualifier: str | None = None) -> Function:
        """The function that a name or ARN means. Raises AwsError 404, its ARN qualified as the request was."""
        name, qualifier = self.parse(identifier, qualifier)
        function = self.store.get(name)
        if function is None or qualifier not in (None, LATEST):
            raise function_not_found(self.arn(name) + (f":{qualifier}" if qualifier else ""))
        return function

    def parse(self, identifier: str, qualifier: str | None = None) -> tuple[str, str | None]:
        """(name, qualifier) of a name, partial or full ARN, with AWS's refusals for what is not ours."""
        try:
            name, derived = parse_function(identifier)
        except ValueError as error:
            raise invalid(f"{identifier!r} is not a valid function name or ARN") from error
        parts = identifier.split(":")
        if parts[0] == "arn" and parts[3] != self._region:
            raise not_found(f"Functions from '{parts[3]}' are not reachable in this region ('{self._region}')")
        if derived and qualifier and derived != qualifier:
            raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
        return name, derived or qualifier

    # changing

    @contextmanager
    def creating(self, name: str) -> Iterator[None]:
        """Reserve a name while its code is unpacked: of many who create it at once, one gets through."""
        if name in self._busy or self.store.get(name) is not None:
            raise conflict(f"Function already exist: {name}")
        with self._reserved(name):
            yield

    @contextmanager
    def changing(self, function: Function) -> Iterator[None]:
        """Refuse a second update of code or configuration until the first is done, in AWS's words."""
        if function.state == "Pending":
            raise not_now("The function is currently in the following state: Pending")
        if function.name in self._busy or function.update_status == "InProgress":
            raise not_now(f"An update is in progress for resource: {function.arn}")
        with self._reserved(function.name):
            yield

    @contextmanager
    def _reserved(self, name: str) -> Iterator[None]:
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def create(self, function: Function) -> None:
        self.store.put(function)
        self._finish_later(function, function)

    def update(self, old: Function, new: Function) -> Function:
        """Put a new revision in place of `old`: InProgress until it can serve. Returns it as stored."""
        new = models.updating(new)
        self.store.put(new)
        self._finish_later(new, old)
        return new

    def delete(self, function: Function) -> None:
        """Forget the function; a request in flight completes."""
        task = self._finishing.pop(function.name, None)
        if task is not None:
            task.cancel()
        self.store.delete(function.name)
        version = self._serving.get(function.name)
        if version is not None:
            for key in _identifiers(function.name, function.arn):
                del self._serving[key]
            self._invoker.retire(version)

    def annotate(self, function: Function) -> None:
        """Store what leaves the running revision's environments alone: tags, policy, concurrency."""
        self.store.put(function)
        version = self._serving.get(function.name)
        if version is not None and version.reserved_concurrency != function.reserved_concurrency:
            self._enter(replace(version, reserved_concurrency=function.reserved_concurrency))

    # coming to serve

    def _finish_later(self, function: Function, old: Function) -> None:
        task = asyncio.get_running_loop().create_task(self._finish(function, old))
        self._finishing[function.name] = task
        task.add_done_callback(lambda done: self._finished(function.name, done))

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        if self._finishing.get(name) is task:
            del self._finishing[name]

    async def _finish(self, function: Function, old: Function) -> None:
        """Compile, then let the revision serve. If that fails the function says so, and an old one serves on."""
        problem: tuple[str, str] | None = None
        try:
            await self._code.compile(function.code_id, function.runtime)
        except Exception as error:
            _log.warning("%s cannot be made ready: %s", function.arn, error)
            problem = _failure(error)
        current = self.store.get(function.name)
        if current is None:
            return
        if problem is None:
            self.store.put(models.active(current))
            self._serve(current)
        elif current.state == "Pending":
            self.store.put(models.create_failed(current, *problem))
        else:
            self.store.put(models.update_failed(_annotations(old, current), *problem))

    def _serve(self, function: Function) -> None:
        """From now on this revision is what the name means; the one before it retires."""
        before = self._serving.get(function.name)
        if before is not None and before.revision_id == function.revision_id:
            return
        code_dir = self._code.path(function.code_id)
        self._enter(models.runnable(function, code_dir, self._region, self._account_id))
        if before is not None:
            self._invoker.retire(before)

    def _enter(self, version: FunctionVersion) -> None:
        for key in _identifiers(version.name, version.arn):
            self._serving[key] = version

    async def settled(self) -> None:
        """Wait until nothing is Pending or InProgress."""
        while self._finishing:
            await asyncio.gather(*self._finishing.values(), return_exceptions=True)


def _identifiers(name: str, arn: str) -> tuple[str, ...]:
    return name, arn, f"{name}:{LATEST}", f"{arn}:{LATEST}"


def _annotations(old: Function, current: Function) -> Function:
    """The old revision with what may have changed meanwhile beside code and configuration."""
    return replace(
        old,
        tags=current.tags,
        policy=current.policy,
        policy_revision_id=current.policy_revision_id,
        reserved_concurrency=current.reserved_concurrency,
    )


def _failure(error: Exception) -> tuple[str, str]:
    """(reason, code) for a function whose code could not be made ready."""
    if isinstance(error, AwsError):
        return error.message, "InvalidConfiguration"
    return str(error) or type(error).__name__, "InternalError"
