"""botocore's protocol cases and the conversions between their JSON notation and Python values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preheat.aws.cbor_rpc import CborRpc
from preheat.aws.json_rpc import JsonRpc
from preheat.aws.model import Operation, ServiceModel, Shape
from preheat.aws.protocol import WireProtocol
from preheat.aws.query import Query
from preheat.aws.rest_json import RestJson

_DIR = Path(__file__).parent / "fixtures" / "protocols"
_PROTOCOLS = {"rest-json": RestJson, "json": JsonRpc, "query": Query, "smithy-rpc-v2-cbor": CborRpc}
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Case:
    """One case with the one-operation service that it describes."""

    id: str
    document: Mapping[str, Any]
    content: Mapping[str, Any]

    @property
    def operation(self) -> Operation:
        return self.model.operations[self.content["given"]["name"]]

    @property
    def model(self) -> ServiceModel:
        return ServiceModel("cases", self.document)

    def protocol(self) -> WireProtocol:
        return _PROTOCOLS[self.document["metadata"]["protocol"]](self.model)


def cases(direction: str, protocol: str) -> Iterator[Case]:
    for suite in json.loads((_DIR / direction / f"{protocol}.json").read_text()):
        for content in suite["cases"]:
            given = content["given"]
            document = {
                "metadata": suite["metadata"],
                "operations": {given["name"]: given},
                "shapes": suite["shapes"],
            }
            yield Case(content["id"], document, content)


def to_python(value: Any, shape: Shape) -> Any:
    """The fixture's notation (epoch seconds, text blobs, "NaN") as the values providers use."""
    if value is None or shape.traits.get("document"):
        return value
    if shape.type == "structure":
        members = shape.members
        return {name: to_python(item, members[name]) for name, item in value.items()}
    if shape.type == "list":
        return [to_python(item, shape.member) for item in value]
    if shape.type == "map":
        return {key: to_python(item, shape.value) for key, item in value.items()}
    if shape.type == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    if shape.type == "blob":
        return value.encode()
    if shape.type in ("float", "double"):
        return _NON_FINITE.get(value, value)
    return value


def comparable(value: Any) -> Any:
    """As botocore's own runner compares: blobs as text, non-finite numbers by name, None as absent, times in UTC."""
    if isinstance(value, Mapping):
        return {key: comparable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value
