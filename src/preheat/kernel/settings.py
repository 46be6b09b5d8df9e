"""Every setting of the local cloud, as one frozen value handed down from `app.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults are what `preheat up` runs with. Units stand in the names."""

    data_dir: Path = Path(".preheat")
    host: str = "127.0.0.1"
    port: int = 4566
    tls: str = "off"
    """"on": HTTPS as well, on the port after `port` (a free one if that is 0), with a certificate of our own."""
    region: str = "us-east-1"
    account_id: str = "000000000000"
    max_inits: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Environments initialising at once, over all functions: a burst must not drown the machine."""
    max_environments: int = 4000
    """Environments alive at once, over all functions; requests beyond wait."""
    memory_budget_mb: int = field(default_factory=lambda: _three_quarters_of_memory_mb())
    """Environments are started while their estimated memory (128 MB each, 4 MB if restored from a
    snapshot, whose pages they share) stays within this; requests beyond wait."""
    spares_max: int = 8
    """Children of a snapshot forked ahead of demand, at most, per function; 0 for none."""
    account_concurrency: int = 1000
    """Concurrent executions per account (AWS's default quota)."""
    keep_alive_s: float = 600.0
    """An execution environment idle for longer is shut down."""
    async_retry_s: float = 60.0
    """A failed asynchronous invocation is tried again after this, and a last time after twice as long."""
    freeze_grace_ms: float = 5.0
    """An idle environment is frozen after this long; a request that comes sooner spares both the freeze
    and the thaw."""
    linger_us: int = 250
    """How long server and runtime poll before they sleep, while a single request is in flight and a core
    has nothing else to do; 0 never."""
    transport: str = "socket"
    """How Python's runtime client speaks to the server: "socket" or "http" (the Runtime API)."""
    sandbox: str = "process"
    image_sandbox: str = "auto"
    """Where functions from images run: "container" (runc, no daemon; Linux and root), "docker" (Docker's engine),
    "process" (Lambda's Python images only, nothing isolated), or "auto": the first of these that this machine has."""
    docker_host: str = field(default_factory=lambda: os.environ.get("DOCKER_HOST", ""))
    """Docker's engine, unix:///path; the variable DOCKER_HOST, or the usual sockets where this is ""."""
    container_network: str = "isolated"
    """What functions from images can reach: "isolated" (their own Runtime API) or "host" (all this machine can)."""


def _three_quarters_of_memory_mb() -> int:
    try:
        total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        total_mb = 8192
    return total_mb * 3 // 4
