"""What cannot be removed before killed processes are gone, which takes the kernel a moment."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

_AGAIN_S = 0.1
_ATTEMPTS = 100


def until_done(attempt: Callable[[], bool], attempts: int = _ATTEMPTS) -> None:
    """Try now, and from time to time as long as the loop runs; who starts next removes what is left then."""
    if attempt() or attempts == 1:
        return
    with contextlib.suppress(RuntimeError):  # no loop any more
        asyncio.get_running_loop().call_later(_AGAIN_S, until_done, attempt, attempts - 1)


def remove_tree(directory: Path) -> bool:
    """Whether it is gone: whoever is still about to die may write into it once more."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()
