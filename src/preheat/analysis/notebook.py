"""The executed notebook: the template kept in the package as text, run by a kernel of this very Python."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

TIME_LIMIT_S = 300
"""For one cell: a million requests are labelled in a fraction of it."""


def write_notebook(folder: Path, name: str = "performance_analysis.ipynb") -> None:
    """Run the template in `folder` and write it there with its results.

    No kernel need be registered: one is described for the duration in a temporary directory. The kernel is shut
    down whatever happens. Raises RuntimeError with one line if a cell failed or no kernel came up; the notebook is
    then written as far as it got.
    """
    import jupytext  # type: ignore[import-untyped]
    import nbformat

    template = files("preheat.analysis").joinpath("templates/performance_analysis.py").read_text(encoding="utf-8")
    notebook = jupytext.reads(template.removeprefix("# mypy: ignore-errors\n"), fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    try:
        asyncio.run(_execute(notebook, folder))
    except Exception as error:  # whatever went wrong in there, the rest of the report stands
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise RuntimeError(f"{type(error).__name__}: {lines[-1] if lines else 'no message'}") from error
    finally:
        nbformat.write(notebook, folder / name)  # type: ignore[no-untyped-call]


async def _execute(notebook: object, folder: Path) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory(prefix="preheat-kernel-") as directory:
        spec = Path(directory) / "kernels" / "preheat"
        spec.mkdir(parents=True)
        (spec / "kernel.json").write_text(json.dumps(_kernel(directory)), encoding="utf-8")
        manager = AsyncKernelManager(
            kernel_name="preheat",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)], ensure_native_kernel=False),
            connection_file=str(Path(directory) / "connection.json"),
            transport="ipc" if os.name == "posix" else "tcp",
        )
        client = NotebookClient(
            notebook,  # type: ignore[arg-type]
            km=manager,
            timeout=TIME_LIMIT_S,
            startup_timeout=60,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            await client.async_execute(cleanup_kc=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        finally:
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)


def _kernel(directory: str) -> dict[str, object]:
    """A kernel that keeps its own files in `directory` and draws as notebooks do."""
    return {
        "argv": [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Preheat",
        "language": "python",
        "env": {"IPYTHONDIR": directory, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    }
