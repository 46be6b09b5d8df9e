"""What every sandbox promises. One contract suite (`tests/contract`) holds all of them to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from preheat.kernel.image import ImageProgram


@dataclass(frozen=True, slots=True)
class Companions:
    """External extensions, started before the runtime by a supervisor that is told and tells on `control_fd`
    (`guest/preheat_supervisor.py`). `output_fd` becomes their stdout and stderr; both stay the caller's."""

    paths: tuple[str, ...]
    control_fd: int
    output_fd: int


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a runtime in an environment.

    `environ` is the whole environment of the process, nothing is inherited. `channel_fd` is our runtime
    client's end of a socket pair, None where the runtime speaks HTTP (AWS_LAMBDA_RUNTIME_API).
    `output_fd` becomes stdout, stderr and the telemetry log's descriptor. Both descriptors stay the
    caller's, to be closed after `launch` returns, as is `control_fd`.
    """

    runtime: str
    handler: str
    code_dir: str
    memory_mb: int
    environ: Mapping[str, str]
    output_fd: int
    channel_fd: int | None = None
    control_fd: int | None = None
    """Given to a template only: the runtime stops at its restore point and serves forks on it."""
    layer_dirs: tuple[str, ...] = ()
    """Unpacked layers in the order attached; of two that hold the same module the later one's is found."""

    image: ImageProgram | None = None
    """What to run instead of a handler of `code_dir`: by the container and docker sandboxes."""
    tmp_mb: int = 512
    """Size of /tmp, where the sandbox can limit it."""
    companions: Companions | None = None
    """Only the process sandbox can."""
    network_fd: int | None = None
    """The network namespace to run in, the caller's as the others; None: the machine's."""


OnExit = Callable[[int], None]
"""Called once per launch, in the event loop: exit status, or minus the signal's number."""


class Sandbox(Protocol):
    """A place for one environment, which may be launched in again after a reset.

    There is no harm in calling any method after `destroy`, nor in killing what has exited.
    """

    origin: str
    """Where the last launch's process came from: "init" (started from nothing), "fork" or "spare"."""
    output_pipe: str | None
    """The named pipe that `Launch.output_fd` must be the writing end of; "" where any pipe will do; None where any will
    do and what the runtime writes may arrive there after its answer."""

    @property
    def refusal(self) -> str:
        """Why the last launch came to no process, once it has ended; "" where it did."""

    def launch(self, launch: Launch, on_exit: OnExit) -> None:
        """Start the runtime. At most one process tree runs at a time; raises OSError if none can be."""

    def kill(self) -> None:
        """SIGKILL the runtime and everything it started, daemons too. `on_exit` is still called."""

    def destroy(self) -> None:
        """Kill, and remove what the environment wrote, /tmp included."""

    def limit_cpu(self, share: float | None) -> None:
        """Let the environment use this share of one core, None for as much as there is (init is not
        throttled). Nothing happens where the machine cannot enforce it."""

    def freeze(self) -> None:
        """Stop every process of the environment where it stands, daemons too."""

    def thaw(self) -> None:
        """Let them go on. No harm where nothing is frozen."""

    def peak_memory_mb(self) -> int:
        """The most memory this environment has used, in MB (2**20 bytes); 0 where it cannot be known."""

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of this environment for passing its memory limit."""


class SandboxFactory(Protocol):
    """Makes sandboxes of one kind."""

    name: str

    def create(self, environment: str) -> Sandbox:
        """An empty place for an environment; `environment` is its id, 32 hex digits."""

    def limits(self) -> list[str]:
        """What this kind cannot enforce on this machine, one sentence each."""

    def reap(self) -> int:
        """Kill and remove what an earlier server that died left behind; returns how many processes."""
