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
    region: str = "us-east-1"
    account_id: str = "000000000000"
    max_inits: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Environments initialising at once, over all functions: a burst must not drown the machine."""
    max_environments: int = field(default_factory=lambda: _environments_in_memory())
    """Environments alive at once, over all functions; requests beyond wait. By default what three
    quarters of the machine's memory hold at 128 MB each."""
    account_concurrency: int = 1000
    """Concurrent executions per account (AWS's default quota)."""
    keep_alive_s: float = 600.0
    """An execution environment idle for longer is shut down."""
    transport: str = "socket"
    """How Python's runtime client speaks to the server: "socket" or "http" (the Runtime API)."""
    sandbox: str = "process"


def _environments_in_memory() -> int:
    try:
        total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        total_mb = 8192
    return max(8, total_mb * 3 // 4 // 128)
