"""What a layer is at rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """`policy` holds statements as AddLayerVersionPermission made them; `created` as the API shows it."""

    version: int
    arn: str
    code_sha256: str
    code_size: int
    created: str
    description: str = ""
    license_info: str | None = None
    runtimes: list[str] = field(default_factory=list)
    architectures: list[str] = field(default_factory=list)
    policy: list[dict[str, Any]] = field(default_factory=list)
    policy_revision_id: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A number is never given twice, also when its version is deleted."""

    name: str
    arn: str
    next_version: int = 1
    versions: dict[str, LayerVersion] = field(default_factory=dict)

    @property
    def newest_first(self) -> list[LayerVersion]:
        return sorted(self.versions.values(), key=lambda version: version.version, reverse=True)
