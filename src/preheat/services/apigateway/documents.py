"""OpenAPI 3.0 and Swagger 2.0 documents, JSON or YAML, before anything is made of them.

What CloudFormation or SAM would fill in (`!Sub`, `Fn::Sub`, `Ref`, `${AWS::Region}`) is refused with the line to
change: nothing fills it in here, and an API that took it as text would fail at its first request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from preheat.services.apigateway import errors

EXTENSION = "x-amazon-apigateway-"
ANY_METHOD = EXTENSION + "any-method"
INTEGRATION = EXTENSION + "integration"
METHODS = ("get", "put", "post", "delete", "patch", "options", "head")
_PLACEHOLDER = re.compile(r"\$\{(?!stageVariables\.)[^}]*\}")
_URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/<the function's ARN>/invocations"
_NOT_A_DOCUMENT = "Unable to parse API definition because of a malformed input: neither OpenAPI nor Swagger"


class Document:
    """One document. `root` is its object; `Mapping`s in it may be references, which `resolved` follows."""

    def __init__(self, body: bytes) -> None:
        """Raises BadRequestException for what is no such document, or needs CloudFormation first."""
        self._text = body.decode("utf-8", "replace")
        self.root: dict[str, Any] = _parsed(self._text)
        _refuse_intrinsics(self.root, self._text)

    def resolved(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A parameter, body, response or integration, its local `$ref` followed."""
        reference = given.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return given
        found: Any = self.root
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
        if not isinstance(found, Mapping):
            raise errors.bad_request(f"Invalid OpenAPI input: {reference} names nothing")
        return found

    def base_path(self) -> str:
        """Swagger's `basePath`, or the path of the first server, variables filled in; no slash at its end."""
        if "swagger" in self.root:
            return str(self.root.get("basePath") or "").rstrip("/")
        server: Mapping[str, Any] = next(iter(self.root.get("servers") or ()), {})
        url = str(server.get("url") or "")
        variables = server.get("variables") or {}
        if "basePath" in variables and "{basePath}" not in url:  # counts all the same (developer guide, "basePath")
            url = "/{basePath}"
        for name, variable in variables.items():
            url = url.replace("{" + name + "}", str(variable.get("default", "")).lstrip("/"))
        path = re.sub(r"^https?://[^/]*", "", url)
        return "/" + path.strip("/") if path.strip("/") else ""

    def check_uri(self, uri: Any) -> None:
        """Raise for a URI that still has CloudFormation's placeholders in it."""
        placeholder = _PLACEHOLDER.search(uri) if isinstance(uri, str) else None
        if placeholder is not None:
            raise _intrinsic(placeholder[0], _line(self._text, placeholder[0]))


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        import yaml  # type: ignore[import-untyped]

        try:
            document = yaml.load(text, Loader=_loader())  # a SafeLoader
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f", line {where.line + 1}" if where is not None else ""
            raise errors.bad_request(f"{_NOT_A_DOCUMENT} ({getattr(error, 'problem', error)}{line})") from None
    if not isinstance(document, dict) or not ("openapi" in document or "swagger" in document):
        raise errors.bad_request(_NOT_A_DOCUMENT)
    return document


def _loader() -> Any:
    """YAML's safe loader; CloudFormation's tags are refused where they stand, dates stay text."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        pass

    def refuse(loader: Any, suffix: str, node: Any) -> Any:
        raise _intrinsic(f"!{suffix}", node.start_mark.line + 1)

    Loader.add_multi_constructor("!", refuse)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))
    return Loader


def _refuse_intrinsics(value: Any, text: str) -> None:
    if isinstance(value, dict):
        name = next(iter(value), "")
        if len(value) == 1 and (str(name).startswith("Fn::") or (name == "Ref" and isinstance(value[name], str))):
            raise _intrinsic(str(name), _line(text, str(name)))
        for item in value.values():
            _refuse_intrinsics(item, text)
    elif isinstance(value, list):
        for item in value:
            _refuse_intrinsics(item, text)


def _line(text: str, what: str) -> int:
    return text.count("\n", 0, max(text.find(what), 0)) + 1


def _intrinsic(what: str, line: int) -> Exception:
    return errors.bad_request(
        f"Line {line}: {what} is CloudFormation's to fill in, and nothing does so here. Write the value itself; "
        f"a Lambda integration's uri is {_URI}"
    )
