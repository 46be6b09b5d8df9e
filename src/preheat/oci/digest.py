"""Digests of content, as the image specification writes them: `sha256:` and 64 hexadecimal digits.

sha512, which the specification also registers, is refused as ECR refuses it.
"""

from __future__ import annotations

import hashlib
import re

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hex_of(digest: str) -> str:
    """The 64 digits. Raises ValueError for anything that is not a digest, so that none becomes a path by mistake."""
    if not is_digest(digest):
        raise ValueError(f"not a sha256 digest: {digest!r}")
    return digest.removeprefix("sha256:")
