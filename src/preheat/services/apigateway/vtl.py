"""Mapping templates: API Gateway's dialect of the Velocity Template Language.

Source: developer guide, "Mapping template and access logging variable reference" ($input, $util, $context). How
values print is from the fidelity sheet: `$input.path` gives objects in Java's style, `{foo=bar}`; lists print as JSON.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from typing import Any
from urllib.parse import quote_plus, unquote_plus

_DUNDER = re.compile(r"[.$!{]__|#\{?evaluate\b")
"""Ways out of the template into the interpreter; no template of AWS's has either."""


class TemplateFailed(Exception):
    """The template cannot be compiled, or failed on this request."""


class NotJson(TemplateFailed):
    """A body that begins as a JSON object and is none."""


def parse_body(text: str) -> Any:
    """A body as AWS's parser takes it: what is no JSON is a string, unless it begins as an object.

    Sources: AWS's Slack blueprint for Lambda, which hands on a form with `{"body": $input.json("$")}`; localstack's
    test_invalid_json_body_mapping, tried on AWS. Raises NotJson.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{"):
            raise NotJson(f"the body is not JSON: {error}") from error
        return text


class Input:
    """`$input` of one message. `params` holds the maps `path`, `querystring` and `header`."""

    def __init__(self, text: str, params: dict[str, dict[str, str]]) -> None:
        self._text = text
        self._params = params
        self.refused: NotJson | None = None
        """Why the body cannot be read; the engine wraps what is raised inside a template."""

    @property
    def body(self) -> str:
        return self._text or "{}"

    def json(self, path: str = "$") -> str:
        found = _select(self._document(), path)
        return '""' if found is None and path != "$" else json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    def path(self, path: str) -> Any:
        """ "" for a path that finds nothing: templates compare with it, as in `#if($input.path('x') != '')`."""
        found = _select(self._document(), path)
        return "" if found is None else as_java(found)

    def params(self, name: str | None = None) -> Any:
        if name is None:
            return JavaMap((kind, JavaMap(values)) for kind, values in self._params.items())
        for kind in ("path", "querystring", "header"):
            if name in self._params[kind]:
                return self._params[kind][name]
        lowered = name.lower()
        return next((value for key, value in self._params["header"].items() if key.lower() == lowered), "")

    def _document(self) -> Any:
        if not self._text:
            return {}
        try:
            return parse_body(self._text)
        except NotJson as error:
            self.refused = error
            raise


class Util:
    """`$util`."""

    _ESCAPES = str.maketrans(
        {"\\": "\\\\", '"': '\\"', "'": "\\'", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    )

    def escapeJavaScript(self, value: Any) -> str:
        """Single quotes too: `\\'` is no JSON, as AWS's guide warns."""
        return _printed(value).translate(self._ESCAPES)

    def parseJson(self, text: Any) -> Any:
        return as_java(json.loads(_printed(text)))

    def urlEncode(self, text: Any) -> str:
        return quote_plus(_printed(text))

    def urlDecode(self, text: Any) -> str:
        return unquote_plus(_printed(text))

    def base64Encode(self, text: Any) -> str:
        return base64.b64encode(_printed(text).encode()).decode()

    def base64Decode(self, text: Any) -> str:
        return base64.b64decode(_printed(text)).decode("utf-8", "replace")


class JavaMap(dict[str, Any]):
    """Prints as Java's maps do: `{a=1, b=[{"c":2}]}`."""

    def __str__(self) -> str:
        return "{" + ", ".join(f"{key}={_printed(value)}" for key, value in self.items()) + "}"


class JsonList(list[Any]):
    """Prints as JSON, everything within included."""

    def __str__(self) -> str:
        return json.dumps(self, separators=(",", ":"), ensure_ascii=False)


class Entry(JavaMap):
    """One of a map's entries: `$entry.key` or `$entry.getKey()`. Prints as Java's do: `a=1`."""

    def __str__(self) -> str:
        return f"{self['key']}={_printed(self['value'])}"


def as_java(value: Any) -> Any:
    """JSON as the objects that templates see."""
    if isinstance(value, dict):
        return JavaMap((key, as_java(item)) for key, item in value.items())
    if isinstance(value, list):
        return JsonList(as_java(item) for item in value)
    return value


def render(
    template: str,
    body: str,
    params: dict[str, dict[str, str]],
    context: dict[str, Any],
    stage_variables: dict[str, str],
) -> str:
    """The template's text. `context` is written to where the template sets `$context.…Override`.

    Raises TemplateFailed; NotJson where the template read a body that is none.
    """
    message = Input(body, params)
    namespace = {
        "input": message,
        "util": Util(),
        "context": as_writable(context),
        "stageVariables": JavaMap(stage_variables),
    }
    try:
        text: str = _compiled(template).merge(namespace)
    except TemplateFailed:
        raise
    except Exception as error:  # whatever a template of the user's does inside the engine is the template's fault
        raise message.refused or TemplateFailed(str(error)) from error
    for override in ("requestOverride", "responseOverride"):
        if override in context:
            context[override].update(namespace["context"][override])
    return text


def as_writable(value: Any) -> Any:
    """A copy of `$context` whose maps print as Java's and may be set member by member."""
    if isinstance(value, dict):
        return JavaMap((key, as_writable(item)) for key, item in value.items())
    return value


@functools.lru_cache(maxsize=1024)
def _compiled(template: str) -> Any:
    import airspeed  # type: ignore[import-untyped]
    from airspeed import operators

    _teach(operators.__additional_methods__)
    if _DUNDER.search(template):
        raise TemplateFailed("names that begin with two underscores, and #evaluate, are refused")
    compiled = airspeed.Template(template)
    compiled.ensure_compiled()
    return compiled


def _teach(methods: dict[type, dict[str, Any]]) -> None:
    """Java's methods, which templates call on values, for our types and where the engine's differ."""
    methods[JavaMap] = {
        **methods[dict],
        "toString": str,
        "containsKey": lambda self, key: key in self,
        "entrySet": lambda self: [Entry(key=key, value=value) for key, value in self.items()],
        "isEmpty": lambda self: not self,
        "size": len,
    }
    methods[Entry] = {"toString": str, "getKey": lambda self: self["key"], "getValue": lambda self: self["value"]}
    methods[JsonList] = {**methods[list], "toString": str}
    methods[str] = {
        **methods[str],
        "replaceAll": _replace_all,
        "toString": str,
        "equals": lambda self, other: self == other,
        "equalsIgnoreCase": lambda self, other: self.casefold() == _printed(other).casefold(),
        "toUpperCase": str.upper,
        "toLowerCase": str.lower,
        "trim": str.strip,
        "isEmpty": lambda self: not self,
        "endsWith": str.endswith,
        "lastIndexOf": str.rfind,
        "concat": lambda self, other: self + _printed(other),
    }
    methods[int] = {**methods.get(int, {}), "parseInt": lambda self, text: int(text), "toString": _printed}


def _replace_all(text: str, pattern: str, replacement: str) -> str:
    """Java's String.replaceAll.

    The engine unescapes `\\\\'` in quotes, which Velocity does not: the pattern that undoes escapeJavaScript would then
    leave the backslash.
    """
    pattern = r"\\?'" if pattern == r"\'" else pattern
    return re.sub(pattern, re.sub(r"\$(\d)", r"\\g<\1>", replacement), text)


@functools.lru_cache(maxsize=1024)
def _path(path: str) -> Any:
    import jsonpath

    return jsonpath.compile(path if path.startswith("$") else f"$.{path}")


def _select(document: Any, path: str) -> Any:
    """What a JSONPath finds: the value, or a list of values where the path may name several; None for nothing."""
    if path == "$":
        return document
    if not isinstance(document, dict | list):  # which jsonpath would parse, were it a string
        return None
    try:
        compiled = _path(path)
        found = compiled.findall(document)
    except Exception as error:
        raise TemplateFailed(f"JSONPath {path}: {error}") from error
    if compiled.singular_query():
        return found[0] if found else None
    return found


def select(document: Any, path: str) -> Any:
    """The same, for parameter mappings such as `integration.response.body.a`. Raises TemplateFailed."""
    return _select(document, path)


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
