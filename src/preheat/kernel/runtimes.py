"""What a managed runtime is called: in INIT_START and in RuntimeVersionConfig alike."""

from __future__ import annotations

import hashlib


def runtime_version(runtime: str, region: str) -> tuple[str, str]:
    """(version, ARN) of "python3.11" and the like; the ARN's last part is a digest, as AWS's is."""
    version = f"{runtime.replace('python', 'python:')}.preheat"
    digest = hashlib.sha256(version.encode()).hexdigest()
    return version, f"arn:aws:lambda:{region}::runtime:{digest}"
