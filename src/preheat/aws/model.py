"""AWS's service models as botocore ships them, read without importing botocore (which costs about 325 ms)."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec

from preheat.aws.recorded import as_recorded


class Shape:
    """A shape as one place in the model sees it: the target's traits overlaid by those of the reference.

    The overlay is botocore's own rule (`botocore.model.ShapeResolver.get_shape_by_name`).
    """

    __slots__ = ("_shapes", "name", "traits", "type")

    def __init__(self, name: str, traits: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
        self.name = name
        self.traits = traits
        self.type: str = traits["type"]
        self._shapes = shapes

    def _resolve(self, reference: Mapping[str, Any]) -> Shape:
        return resolve(reference, self._shapes)

    @property
    def members(self) -> dict[str, Shape]:
        """A structure's members, in the model's order."""
        return {name: self._resolve(reference) for name, reference in self.traits.get("members", {}).items()}

    @property
    def member(self) -> Shape:
        """A list's element."""
        return self._resolve(self.traits["member"])

    @property
    def key(self) -> Shape:
        return self._resolve(self.traits["key"])

    @property
    def value(self) -> Shape:
        return self._resolve(self.traits["value"])

    @property
    def location(self) -> str | None:
        """Where a rest-json member travels: uri, querystring, header, headers, statusCode, or None for the body."""
        return self.traits.get("location")

    def wire_name(self, default: str) -> str:
        return str(self.traits.get("locationName", default))


def resolve(reference: Mapping[str, Any], shapes: Mapping[str, Any]) -> Shape:
    name = reference["shape"]
    return Shape(name, {**shapes[name], **reference}, shapes)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the model; `uri` and `method` are rest-json's, `result_wrapper` query's."""

    service: str
    name: str
    method: str
    uri: str
    status: int
    input: Shape | None
    output: Shape | None
    result_wrapper: str


class ServiceModel:
    """One service: `name` is botocore's directory name."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = name
        self.metadata: Mapping[str, Any] = document["metadata"]
        self._operations: Mapping[str, Any] = document["operations"]
        self._shapes: Mapping[str, Any] = document.get("shapes", {})

    @property
    def protocol(self) -> str:
        return str(self.metadata["protocol"])

    @property
    def protocols(self) -> list[str]:
        """All that the service speaks, what newer clients choose first."""
        return list(self.metadata.get("protocols", [self.protocol]))

    @cached_property
    def operations(self) -> dict[str, Operation]:
        return {name: self._operation(name, entry) for name, entry in self._operations.items()}

    @cached_property
    def errors(self) -> dict[str, Shape]:
        """Error shapes by their code on the wire (the `error.code` trait, else the shape's name)."""
        found = {}
        for name, entry in self._shapes.items():
            if entry.get("exception"):
                found[entry.get("error", {}).get("code", name)] = resolve({"shape": name}, self._shapes)
        return found

    def _operation(self, name: str, entry: Mapping[str, Any]) -> Operation:
        http = entry.get("http", {})
        output = entry.get("output")
        return Operation(
            service=self.name,
            name=name,
            method=http.get("method", "POST"),
            uri=http.get("requestUri", "/"),
            status=http.get("responseCode", 200),
            input=resolve(entry["input"], self._shapes) if "input" in entry else None,
            output=resolve(output, self._shapes) if output else None,
            result_wrapper=(output or {}).get("resultWrapper", f"{name}Result"),
        )


def _data_dir() -> Path:
    spec = importlib.util.find_spec("botocore")  # finds the package without running it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("botocore is not installed: its data files are AWS's service models")
    return Path(spec.origin).parent / "data"


@cache
def load_service(name: str) -> ServiceModel:
    """The newest model of a service (1-40 ms, once). Raises LookupError for a name botocore does not know."""
    found = sorted((_data_dir() / name).glob("*/service-2.json*"))  # versions are ISO dates: newest last
    if not found:
        raise LookupError(f"botocore has no service {name!r}")
    data = found[-1].read_bytes()
    if found[-1].suffix == ".gz":
        data = gzip.decompress(data)
    return ServiceModel(name, as_recorded(name, msgspec.json.decode(data)))
