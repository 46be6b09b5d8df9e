"""Which functions and versions exist, what serves right now, and how a new revision comes to serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from preheat.aws.model import load_service
from preheat.kernel.arn import function_arn, read_function
from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.function import FunctionVersion, Invoker
from preheat.services.lambda_ import models
from preheat.services.lambda_.attachments import Alias, Attached
from preheat.services.lambda_.code import CodeStore
from preheat.services.lambda_.failures import (
    conflict,
    constraint,
    function_not_found,
    function_only,
    invalid,
    not_found,
    not_now,
)
from preheat.services.lambda_.images import Images
from preheat.services.lambda_.models import LATEST, Function
from preheat.services.lambda_.serving import Serving
from preheat.services.lambda_.store import FunctionStore

_log = logging.getLogger(__name__)

_REASON_CODES = ("FunctionError", "InvalidImage")
"""StateReasonCodes of the model that errors here may bring along."""

MAX_NAME = 64

_TRIED_AGAIN = (("Active", ""), ("Failed", "InvalidImage"))
"""Of image functions, when the server starts: (State, StateReasonCode)."""

_Key = tuple[str, str]
"""(name, version)"""


class FunctionRegistry:
    """A `FunctionDirectory` over the store.

    A new version is Pending and an updated $LATEST InProgress until its code is compiled and its snapshot,
    where it has one, is taken; meanwhile what served before serves. All methods run on the event loop's thread.
    """

    def __init__(
        self, store: FunctionStore, code: CodeStore, images: Images, invoker: Invoker, region: str, account_id: str
    ) -> None:
        self.store = store
        self.invoker = invoker
        self.serving = Serving()
        self._code = code
        self._images = images
        self._region = region
        self._account_id = account_id
        self._finishing: dict[_Key, asyncio.Task[None]] = {}
        self._busy: set[str] = set()
        self._restoring: asyncio.Task[None] | None = None
        for latest in store:
            for function in store.versions(latest.name):
                if function.state == "Active" and function.image is None:
                    self.serving.put(self.runnable(function))
            self.serving.set_aliases(latest.name, store.attached(latest.name).aliases.values())

    async def start(self) -> None:
        """After a restart: finish what was still Pending or InProgress, and throw away what nothing uses."""
        await self._code.sweep()
        await self._serve_images()
        for latest in self.store:
            for function in self.store.versions(latest.name):
                if function.state == "Pending" or function.update_status == "InProgress":
                    self._finish_later(function, function)
        await self.collect()
        self._restoring = asyncio.get_running_loop().create_task(self._take_snapshots_again())

    async def close(self) -> None:
        """Stop compiling; what is unfinished is finished after the next start."""
        tasks = [*self._finishing.values(), *([self._restoring] if self._restoring else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.store.close()

    async def collect(self, in_use: Iterable[str] = ()) -> list[str]:
        """Remove code that neither functions nor layers name; `in_use` are directories of living environments."""
        kept = {code for latest in self.store for each in self.store.versions(latest.name) for code in each.code_ids}
        kept |= {models.code_id(v.code_sha256) for layer in self.store.layers for v in layer.versions.values()}
        kept |= {path.rstrip("/").rpartition("/")[2] for path in (*self.serving.code_dirs(), *in_use)}
        return await self._code.collect(kept)

    # finding

    def arn(self, name: str) -> str:
        return function_arn(self._region, self._account_id, name)

    def resolve(self, identifier: str, qualifier: str | None = None) -> FunctionVersion:
        """The version to run. Raises AwsError 404, or 409 while it is Pending."""
        version = self.serving.find(identifier, qualifier)
        if version is not None:
            return version
        name, qualifier = self.parse(identifier, qualifier)
        version = self.serving.find(name, qualifier)
        if version is None:
            function = self._version(name, qualifier)
            if function is None:
                raise function_not_found(f"{self.arn(name)}:{qualifier or LATEST}")
            raise not_now(f"The function is currently in the following state: {function.state}")
        return version

    def find(self, identifier: str, qualifier: str | None = None) -> tuple[Function, str | None]:
        """(the version that a name or ARN means, the qualifier it was named by).

        Raises AwsError 404, its ARN qualified as the request was.
        """
        name, qualifier = self.parse(identifier, qualifier)
        function = self._version(name, qualifier)
        if function is None:
            raise function_not_found(self.arn(name) + (f":{qualifier}" if qualifier else ""))
        return function, qualifier

    def find_resource(self, identifier: str, qualifier: str | None = None) -> tuple[Function, str | None]:
        """As `find`, where AWS tells a missing alias from a missing version."""
        name, qualifier = self.parse(identifier, qualifier)
        if qualifier and "$" not in qualifier and not qualifier.isdigit():
            self.alias(name, qualifier)
        return self.find(name, qualifier)

    def alias(self, name: str, alias: str) -> Alias:
        found = self.store.attached(name).aliases.get(alias)
        if found is None:
            raise not_found(f"Cannot find alias arn: {self.arn(name)}:{alias}")
        return found

    def function(self, identifier: str) -> Function:
        """$LATEST, for what concerns functions only. Raises AwsError 404, or 400 for a qualified name."""
        name, qualifier = self.parse(identifier)
        if qualifier not in (None, LATEST):
            raise function_only()
        return self.find(name)[0]

    def _version(self, name: str, qualifier: str | None) -> Function | None:
        alias = self.store.attached(name).aliases.get(qualifier or LATEST)
        return self.store.get(name, alias.version if alias else qualifier or LATEST)

    def parse(self, identifier: str, qualifier: str | None = None) -> tuple[str, str | None]:
        """(name, qualifier) of a name, partial or full ARN, with AWS's refusals for what is not ours."""
        try:
            name, derived, region, _ = read_function(identifier)
        except ValueError as error:
            rule = f"Member must satisfy regular expression pattern: {_name_pattern()}"
            raise constraint(identifier, "functionName", rule) from error
        if region and region != self._region:
            raise not_found(f"Functions from '{region}' are not reachable in this region ('{self._region}')")
        if derived and qualifier and derived != qualifier:
            raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
        return name, derived or qualifier or None

    def new_name(self, identifier: str) -> str:
        """Of a function to create, which may be given as an ARN."""
        name, qualifier = self.parse(identifier)
        if qualifier is not None:
            raise function_only()  # unverified
        if read_function(identifier).account not in (None, self._account_id):
            raise AwsError("AccessDeniedException", "", 403, fault="")
        if len(name) > MAX_NAME:  # the code is not that of other constraints (recorded)
            rule = f"Member must have length less than or equal to {MAX_NAME}"
            raise invalid(constraint(identifier, "functionName", rule).message)
        return name

    def runnable(self, function: Function) -> FunctionVersion:
        """What environments run of a version, whether it serves yet or not."""
        directories = [self._code.path(code) for code in function.code_ids]
        program = self._images.program(function.image, function.image_config) if function.image else None
        reserved = self.store.attached(function.name).reserved_concurrency
        return models.runnable(function, directories, program, reserved, self._region, self._account_id)

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

    def create(self, function: Function, attached: Attached) -> None:
        self._pin(function)
        with self.store.together():
            self.store.put(function)
            self.store.attach(function.name, attached)
        self._finish_later(function, function)

    def update(self, old: Function, new: Function) -> Function:
        """Put a new revision in place of `old`: InProgress until it can serve. Returns it as stored."""
        self._pin(new)
        new = models.updating(new)
        self.store.put(new)
        self._finish_later(new, old)
        return new

    def publish(self, latest: Function, description: str | None = None) -> Function:
        """The version that equals $LATEST: the newest one where nothing has changed since, else a new one.

        A version of a function that serves already is Active at once (recorded on AWS), unless a snapshot
        must be taken first.
        """
        attached = self.store.attached(latest.name)
        newest = self.store.get(latest.name, str(attached.next_version - 1))
        if newest is not None and newest.published_from == latest.pool_id:
            return newest
        version = models.published(latest, attached.next_version, description)
        self._pin(version)
        ready = latest.state == "Active" and latest.update_status == "Successful" and not version.has_snapshot
        if ready:
            version = models.active(version)
        with self.store.together():
            self.store.put(version)
            self.store.put(models.touched(latest))
            self.store.attach(latest.name, replace(attached, next_version=attached.next_version + 1))
        if ready:
            self._serve(version)
        else:
            self._finish_later(version, version)
        return version

    def delete_version(self, function: Function) -> None:
        """Forget one published version; a request in flight completes."""
        self._cancel(function.name, function.version)
        self.store.delete_version(function.name, function.version)
        self._images.unpin(function.pool_id)
        version = self.serving.drop(function.name, function.version)
        if version is not None:
            self.invoker.retire(version)

    def delete(self, function: Function) -> None:
        """Forget the function and all its versions; requests in flight complete."""
        versions = self.store.versions(function.name)
        for each in versions:
            self._cancel(each.name, each.version)
        self.store.delete(function.name)
        for each in versions:
            self._images.unpin(each.pool_id)
        for version in self.serving.drop_all(function.name):
            self.invoker.retire(version)

    def attach(self, name: str, attached: Attached, touch: str | None = None) -> None:
        """Store what leaves running environments alone; `touch` names the version whose revision id it renews."""
        touched = self.store.get(name, touch) if touch else None
        with self.store.together():
            self.store.attach(name, attached)
            if touched is not None:
                self.store.put(models.touched(touched))
        self.serving.set_aliases(name, attached.aliases.values())
        self.serving.set_reserved(name, attached.reserved_concurrency)

    # coming to serve

    def _finish_later(self, function: Function, old: Function) -> None:
        key = (function.name, function.version)
        task = asyncio.get_running_loop().create_task(self._finish(function, old))
        self._finishing[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: _Key, task: asyncio.Task[None]) -> None:
        if self._finishing.get(key) is task:
            del self._finishing[key]

    def _cancel(self, name: str, version: str) -> None:
        task = self._finishing.pop((name, version), None)
        if task is not None:
            task.cancel()

    async def _finish(self, function: Function, old: Function) -> None:
        """Make it ready, then let it serve. If that fails it says so, and an old revision serves on."""
        problem: tuple[str, str] | None = None
        try:
            await self._make_ready(function)
        except Exception as error:
            _log.warning("%s:%s cannot be made ready: %s", function.arn, function.version, error)
            problem = _failure(error)
        current = self.store.get(function.name, function.version)
        if current is None:
            return
        if problem is None:
            self.store.put(models.active(current))
            self._serve(current)
        elif current.state == "Pending":
            self.store.put(models.create_failed(current, *problem))
        else:
            self.store.put(models.update_failed(old, *problem))
            self._images.unpin(current.pool_id)

    async def _make_ready(self, function: Function) -> None:
        """Compile the code, after $LATEST's where they are made together; then take the snapshot."""
        latest = self._finishing.get((function.name, LATEST))
        if function.version != LATEST and latest is not None:
            await asyncio.wait([latest])
        if function.image is not None:
            await self._images.unpack(function.image, function.image_config)
        await self._code.compile_all(function.code_ids, function.runtime)
        if function.has_snapshot:
            await self._prepare(self.runnable(function))

    async def _prepare(self, version: FunctionVersion) -> None:
        try:
            await self.invoker.prepare(version)
        except asyncio.CancelledError:
            self.invoker.retire(version)
            raise

    async def _take_snapshots_again(self) -> None:
        """A snapshot lives in the server's own processes: after a restart it is taken anew, one at a time."""
        for latest in self.store:
            for version in self.serving.versions(latest.name):
                if version.snap_start:
                    try:
                        await self.invoker.prepare(version)
                    except Exception as error:  # one version's trouble is not the next one's
                        _log.warning("no snapshot of %s: %s", version.qualified_arn, error)

    def _serve(self, function: Function) -> None:
        """From now on this is what the name or number means; a revision before it retires."""
        before = self.serving.version(function.name, function.version)
        if before is not None and before.revision_id == function.pool_id:
            return
        self.serving.put(self.runnable(function))
        if before is not None:
            self.invoker.retire(before)
            self._images.unpin(before.revision_id)

    def _pin(self, function: Function) -> None:
        if function.image is not None:
            self._images.pin(function.pool_id, function.image)

    async def _serve_images(self) -> None:
        """After a restart: mostly unpacked already. What another start could not run (no engine) is tried again."""
        for latest in self.store:
            for function in self.store.versions(latest.name):
                if function.image is None or (function.state, function.state_reason_code) not in _TRIED_AGAIN:
                    continue
                try:
                    await self._images.unpack(function.image, function.image_config)
                except (AwsError, PreheatError) as error:
                    _log.warning("%s:%s cannot serve: %s", function.arn, function.version, error)
                    self.store.put(models.create_failed(function, *_failure(error)))
                else:
                    if function.state != "Active":
                        function = models.active(function)
                        self.store.put(function)
                    self._serve(function)

    async def settled(self) -> None:
        """Wait until nothing is Pending or InProgress."""
        while self._finishing:
            await asyncio.gather(*self._finishing.values(), return_exceptions=True)
        if self._restoring is not None:
            with suppress(asyncio.CancelledError):
                await self._restoring


def _failure(error: Exception) -> tuple[str, str]:
    """(reason, code) for a version that could not be made ready; codes are StateReasonCode's in the model."""
    if isinstance(error, AwsError):
        return error.message, error.code if error.code.startswith(_REASON_CODES) else "InvalidConfiguration"
    if isinstance(error, PreheatError):
        return str(error), "FunctionError"
    return str(error) or type(error).__name__, "InternalError"


def _name_pattern() -> str:
    """As Invoke's model has it."""
    shape = load_service("lambda").operations["Invoke"].input
    return str(shape.members["FunctionName"].traits["pattern"]) if shape else ""
