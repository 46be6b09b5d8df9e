"""What ECR keeps, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Repository:
    """`mutability` in ECR's words; `exclusions`: tags (with `*`) to which the opposite applies."""

    name: str
    created_s: float
    mutability: str = "MUTABLE"
    exclusions: tuple[str, ...] = ()
    scan_on_push: bool = False
    encryption: Mapping[str, str] = field(default_factory=lambda: {"encryptionType": "AES256"})
    tags: Mapping[str, str] = field(default_factory=dict)
    lifecycle_policy: str | None = None
    policy: str | None = None

    def immutable(self, tag: str) -> bool:
        """Whether a tag, once set, cannot be moved."""
        excluded = any(_matches(pattern, tag) for pattern in self.exclusions)
        return self.mutability.startswith("IMMUTABLE") != excluded


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest or an index in a repository. `size_bytes`: of the blobs it names, config included."""

    repository: str
    digest: str
    media_type: str
    artifact_type: str
    size_bytes: int
    pushed_s: float
    pulled_s: float | None
    subject: str | None
    tags: tuple[str, ...]


ImageId = Mapping[str, Any]
"""`imageDigest`, `imageTag` or both, as in the API."""


def is_repository_name(name: str) -> bool:
    return 2 <= len(name) <= 256 and _NAME.fullmatch(name) is not None


def is_tag(tag: str) -> bool:
    """The distribution specification's rule, which is narrower than the ECR model's."""
    return _TAG.fullmatch(tag) is not None


def _matches(pattern: str, tag: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tag) is not None
