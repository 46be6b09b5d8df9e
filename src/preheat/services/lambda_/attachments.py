"""What belongs to a function's name, whatever version runs: aliases, policies, limits, URLs. Plain values at rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Alias:
    """`weights` holds at most one further version and the share of invocations that go to it."""

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: dict[str, float] = field(default_factory=dict)

    def pick(self) -> str:
        """The version that serves one invocation."""
        chance = random.random() if self.weights else 0.0
        for version, weight in self.weights.items():
            if chance < weight:
                return version
        return self.version


@dataclass(frozen=True, slots=True)
class Provisioned:
    """One provisioned concurrency configuration; `modified` as the API shows it."""

    requested: int
    modified: str


@dataclass(frozen=True, slots=True)
class EventInvoke:
    """What becomes of asynchronous invocations; None is AWS's default. `modified_ms` is epoch milliseconds."""

    modified_ms: int
    max_retries: int | None = None
    max_age_s: int | None = None
    on_success: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class Url:
    """One function URL; `cors` is by botocore's member names, times as the API shows them.

    Answers to changes show the mode only where it was ever given (recorded on AWS).
    """

    url_id: str
    auth_type: str
    invoke_mode: str
    created: str
    modified: str
    cors: dict[str, Any] | None = None
    mode_given: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeUpdates:
    """When AWS would update the managed runtime: `mode` is Auto, Manual or FunctionUpdate."""

    mode: str = "Auto"
    runtime_version_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Attached:
    """All of it for one function; dictionaries go by qualifier ("$LATEST" for none). Never changed in place."""

    tags: dict[str, str] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    next_version: int = 1
    aliases: dict[str, Alias] = field(default_factory=dict)
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    provisioned: dict[str, Provisioned] = field(default_factory=dict)
    event_invoke: dict[str, EventInvoke] = field(default_factory=dict)
    urls: dict[str, Url] = field(default_factory=dict)
    recursive_loop: str = "Terminate"
    runtime_updates: dict[str, RuntimeUpdates] = field(default_factory=dict)
    code_signing: str = ""
    """A code signing configuration's ARN."""


@dataclass(frozen=True, slots=True)
class SigningConfig:
    """One code signing configuration: `publishers` are ARNs of signing profile versions, `policy` Warn or Enforce."""

    id: str
    arn: str
    publishers: list[str]
    policy: str
    modified: str
    description: str = ""
