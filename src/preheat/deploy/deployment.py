"""What was deployed, as a value and as `.preheat/deployments/<name>.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asks for. `environment` are the function's own variables.

    `image` asks for a function from a container image, whose Dockerfile says runtime and handler.
    With `snap_start` or `provisioned` (how many environments) a published version serves, behind an alias.
    """

    project_dir: Path
    name: str
    memory_mb: int = 512
    timeout_s: int = 30
    runtime: str = "python3.11"
    handler: str = "lambda_function.lambda_handler"
    stage: str = "default"
    environment: dict[str, str] = field(default_factory=dict)
    role: str = "LabRole"
    snap_start: bool = False
    provisioned: int = 0
    image: bool = False

    @property
    def published(self) -> bool:
        return self.snap_start or self.provisioned > 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request made after deploying, its answer, and what CloudWatch Logs has of it.

    request: method, url, headers, body; response: status, headers, body, ms;
    log_events: timestamp (epoch ms), stream, message.
    """

    request: dict[str, Any]
    response: dict[str, Any]
    log_events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A function behind a REST API. `host` is what goes before `/<stage>/<function>` (Locust's --host).

    A function from an image has its URI in `image_uri`, and neither runtime nor handler nor `build_dir` ("").

    `function_arn` is unqualified; `qualifier` is the alias in front of `version`, None where $LATEST serves.
    """

    target: str
    region: str
    profile: str | None
    endpoint_url: str | None
    function: str
    function_arn: str
    version: str
    runtime: str
    handler: str
    memory_mb: int
    timeout_s: int
    role_arn: str
    api_id: str
    stage: str
    host: str
    url: str
    project_dir: str
    build_dir: str
    curl: str
    invoke_web_request: str
    deployed_at: float
    """Epoch seconds."""
    sample: Sample
    schema: int = SCHEMA
    qualifier: str | None = None
    snap_start: bool = False
    provisioned: int = 0
    image_uri: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def save(self, data_dir: Path) -> Path:
        """Write the record whole or not at all."""
        path = data_dir / "deployments" / f"{self.function}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(self.as_dict(), indent=2) + "\n", "utf-8")
        partial.replace(path)
        return path


def load(path: Path) -> Deployment:
    """Read a record; raises PreheatError naming the file if it is not one of this schema."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise PreheatError(f"{path}: schema {document['schema']}, this preheat reads {SCHEMA}: deploy again", 253)
        known = {name.name for name in fields(Deployment)}
        values = {key: value for key, value in document.items() if key in known}
        return Deployment(**{**values, "sample": Sample(**document["sample"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PreheatError(f"{path}: not a deployment record ({error})", 253) from error


def find(data_dir: Path, function: str | None) -> Deployment | None:
    """The record of a function, or of the latest deployment when no name is given; None if there is none."""
    folder = data_dir / "deployments"
    if function is not None:
        path = folder / f"{function}.json"
        return load(path) if path.is_file() else None
    return max((load(path) for path in folder.glob("*.json")), key=lambda record: record.deployed_at, default=None)
