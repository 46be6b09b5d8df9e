"""The `snapshot` sandbox: environments forked from a template of the same function (SnapStart), on the ground of
the process sandbox or, for functions from images, of the container sandbox.

Init is paid once, by the template; a start is a fork into PID, mount, IPC and UTS namespaces of its own
with its own /tmp and cgroup. Spares are children forked ahead of demand that wait for their orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from preheat.kernel.placement import spares_wanted
from preheat.sandbox import pages
from preheat.sandbox.cgroup import Cgroup
from preheat.sandbox.container import ContainerFactory, ContainerSandbox
from preheat.sandbox.container_template import ContainerTemplate
from preheat.sandbox.process import ProcessFactory, ProcessSandbox, peak_of
from preheat.sandbox.protocol import Launch, OnExit
from preheat.sandbox.soon import until_done
from preheat.sandbox.template import Child, Template, TemplateError

_REFILL_S = 0.02
"""Spares are forked this long after one was taken: not while that one's request is being served."""
_SPARE_WINDOW_S = 10.0


class SnapshotFactory:
    """Sandboxes of one function version. `prepare` before the first launch, and again when `died`."""

    name = "snapshot"

    def __init__(self, ground: ProcessFactory | ContainerFactory, spares_max: int) -> None:
        self._ground = ground
        self._spares_max = spares_max
        self._template: Template | None = None
        self._spares: deque[Forked] = deque()
        self._taken: deque[float] = deque()
        self._refill: asyncio.TimerHandle | None = None
        self._memory_mb = 128
        self._environ: Mapping[str, str] = {}
        self._keep: list[str] = []
        self._closed = False
        self._written: int | None = None
        """Descriptor of what environments write to in their first request (`pages`), once that is known."""
        self._learning = False

    @property
    def died(self) -> bool:
        """There is no template to fork from (any more)."""
        return self._template is None or self._template.died

    async def prepare(self, launch: Launch, limit_s: float) -> list[str]:
        """Take the snapshot; returns its warnings, a line each. Raises TemplateError if init fails."""
        self.close()
        self._closed = self._learning = False
        self._memory_mb = launch.memory_mb
        self._environ = launch.environ
        place = self._ground.create(uuid.uuid4().hex)
        self._keep = await asyncio.to_thread(place.kept, launch)
        template = self._template_in(place)
        try:
            await template.take(launch, limit_s)
            place.unlimit()  # what children touch before they are in a group of their own is charged to the template
        except BaseException:
            template.close()
            raise
        self._template = template
        self._fill()
        return [f"{found['where']} {found['text']}" for found in template.warnings]

    def differing(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables that an environment has otherwise than the template: what init set of its own stays."""
        return {name: value for name, value in environ.items() if self._environ.get(name) != value}

    def create(self, environment: str) -> SnapshotSandbox:
        return SnapshotSandbox(self)

    def limits(self) -> list[str]:
        return self._ground.limits()

    def reap(self) -> int:
        return self._ground.reap()

    def close(self) -> None:
        """Kill the template and the spares; environments live on."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
            self._refill = None
        while self._spares:
            self._spares.popleft().discard()
        if self._template is not None:
            self._template.close()
            self._template = None
        if self._written is not None:
            os.close(self._written)
            self._written = None

    def learn(self, pid: int) -> None:
        """Note which pages an environment that has served has written to: the next spares copy them ahead of demand."""
        if self._learning or not self._spares_max:
            return
        self._learning = True
        noting = asyncio.get_running_loop().run_in_executor(None, pages.written, pid)
        noting.add_done_callback(functools.partial(self._learnt, self._template))

    def _learnt(self, template: Template | None, noting: asyncio.Future[bytes]) -> None:
        if template is not self._template or self._closed:
            return
        if noting.cancelled() or not noting.result():
            self._learning = False  # it has just ended: from the next one
            return
        self._written = os.memfd_create("written")
        os.write(self._written, noting.result())

    def take(self) -> tuple[Forked, str]:
        """A child with a place of its own, and where it comes from: "spare" or "fork"."""
        self._taken.append(time.monotonic())
        self._fill_in(_REFILL_S)
        if self._spares:
            return self._spares.popleft(), "spare"
        return self.fork(), "fork"

    def _template_in(self, place: ProcessSandbox | ContainerSandbox) -> Template:
        if isinstance(self._ground, ContainerFactory) and isinstance(place, ContainerSandbox):
            return ContainerTemplate(place, self._ground.disks, isolated=self._ground.isolated)
        return Template(place)

    def fork(self, place: ProcessSandbox | ContainerSandbox | None = None, *, spare: bool = False) -> Forked:
        """A child forked now, in a place of its own or in that of one before it (a reset keeps /tmp)."""
        assert self._template is not None
        own = place is None
        place = place or self._ground.create(uuid.uuid4().hex)
        cgroup = None
        if self._ground.cgroups.paths:
            cgroup = self._ground.cgroups.child(uuid.uuid4().hex, self._memory_mb)
        try:
            child = self._template.fork(str(place.tmp), self._keep, own, self._written if spare else None, cgroup)
        except TemplateError:
            if cgroup is not None:
                cgroup.remove()
            if own:
                place.destroy()
            raise
        if cgroup is not None:
            child.on_pid = functools.partial(_join, cgroup)
        return Forked(child, place, cgroup)

    def _fill(self) -> None:
        """Fork spares up to what the last seconds' starts make likely to be wanted next."""
        self._refill = None
        if self._closed:
            return
        horizon = time.monotonic() - _SPARE_WINDOW_S
        while self._taken and self._taken[0] < horizon:
            self._taken.popleft()
        wanted = spares_wanted(len(self._taken), self._spares_max)
        while len(self._spares) > wanted:
            self._spares.pop().discard()
        missing = len(self._spares) < wanted and not self.died  # the next start takes a dead template again
        if missing:
            with contextlib.suppress(TemplateError):  # it has just died
                spare = self.fork(spare=True)
                spare.child.on_exit = lambda _: self._spare_ended(spare)
                self._spares.append(spare)
        if self._taken or missing:
            self._fill_in(_REFILL_S if missing else _SPARE_WINDOW_S)

    def _spare_ended(self, spare: Forked) -> None:
        """Somebody else has killed it, or it could not be."""
        if spare in self._spares:
            self._spares.remove(spare)
            spare.discard()
            if self._refill is None:
                self._fill_in(_SPARE_WINDOW_S)  # not at once: the next may fare no better

    def _fill_in(self, delay_s: float) -> None:
        if self._refill is not None:
            self._refill.cancel()
        self._refill = asyncio.get_running_loop().call_later(delay_s, self._fill)


def _join(cgroup: Cgroup, pid: int) -> None:
    """In a thread: after a pause the kernel takes some 10 ms (an RCU grace period) to move a process."""
    asyncio.get_running_loop().run_in_executor(None, cgroup.add, pid)


@dataclass(frozen=True, slots=True)
class Forked:
    """A child, its directory with its /tmp, and the control group it lives in."""

    child: Child
    place: ProcessSandbox | ContainerSandbox
    cgroup: Cgroup | None

    def kill(self) -> None:
        self.child.kill()
        if self.cgroup is not None:
            self.cgroup.kill()

    def stop_or_go(self, number: signal.Signals, by_cgroup: Callable[[Cgroup], bool]) -> None:
        """By the cgroup where there is one, else by a signal to its session's process group."""
        pid = self.child.pid
        if pid is None or (self.cgroup is not None and by_cgroup(self.cgroup)):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)

    def discard(self) -> None:
        """Kill it and remove all of it."""
        self.leave()
        self.place.destroy()

    def leave(self) -> None:
        """Kill it, but keep its place for the next."""
        self.kill()
        if self.cgroup is not None:
            until_done(self.cgroup.remove)


class SnapshotSandbox:
    """One environment's place; a launch is a fork."""

    origin = "fork"
    output_pipe: str | None = ""

    def __init__(self, factory: SnapshotFactory) -> None:
        self._factory = factory
        self._forked: Forked | None = None

    @property
    def refusal(self) -> str:
        return self._forked.child.refusal if self._forked is not None else ""

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        if self._forked is None:
            self._forked, self.origin = self._factory.take()
        else:
            self._forked.leave()
            self._forked, self.origin = self._factory.fork(self._forked.place), "fork"
        self._forked.child.on_exit = on_exit
        fds = [launch.output_fd, *([] if launch.channel_fd is None else [launch.channel_fd])]
        self._forked.child.give_orders(self._factory.differing(launch.environ), fds)

    def kill(self) -> None:
        if self._forked is not None:
            self._forked.kill()

    def destroy(self) -> None:
        if self._forked is not None:
            self._forked.discard()
            self._forked = None

    def limit_cpu(self, share: float | None) -> None:
        if self._forked is not None and self._forked.cgroup is not None:
            self._forked.cgroup.limit_cpu(share)

    def freeze(self) -> None:
        if self._forked is not None:
            self._forked.stop_or_go(signal.SIGSTOP, Cgroup.freeze)
            if self._forked.child.pid is not None:
                self._factory.learn(self._forked.child.pid)

    def thaw(self) -> None:
        if self._forked is not None:
            self._forked.stop_or_go(signal.SIGCONT, Cgroup.thaw)

    def peak_memory_mb(self) -> int:
        pid = self._forked.child.pid if self._forked is not None else None
        return peak_of(pid) if pid is not None else 0

    def out_of_memory(self) -> bool:
        cgroup = self._forked.cgroup if self._forked is not None else None
        return cgroup is not None and cgroup.oom_kills() > 0
