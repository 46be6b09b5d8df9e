"""What a managed runtime is called, in INIT_START and in RuntimeVersionConfig alike, and where it finds things."""

from __future__ import annotations

import hashlib

TASK_ROOT, LAYERS_ROOT = "/var/task", "/opt"
"""Where a function finds its code and what its layers bring (developer guide, LAMBDA_TASK_ROOT and "layer paths")."""
CUSTOM = ("provided.al2", "provided.al2023")
"""OS-only runtimes: the package brings a `bootstrap`, any executable that speaks the Runtime API."""


def is_custom(runtime: str) -> bool:
    return runtime in CUSTOM


def runtime_version(runtime: str, region: str) -> tuple[str, str]:
    """(version, ARN) of "python3.11" and the like; the ARN's last part is a digest, as AWS's is."""
    version = f"{runtime.replace('python', 'python:').replace('provided.', 'provided:')}.preheat"
    digest = hashlib.sha256(version.encode()).hexdigest()
    return version, f"arn:aws:lambda:{region}::runtime:{digest}"
