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


class Input:
    """`$input` of one message. `params` holds the maps `path`, `querystring` and `header`."""

    def __init__(self, text: str, params: dict[str, dict[str, str]]) -> None:
        self._text = text
        self._params = params

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
            return json.loads(self._text)
        except ValueError as error:
            raise TemplateFailed(f"the body is not JSON: {error}") from error


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
    """The template's text. `context` is written to where the template sets `$context.…Override`."""
    namespace = {
        "input": Input(body, params),
        "util": Util(),
        "context": as_writable(context),
        "stageVariables": JavaMap(stage_variables),
    }
    try:
        text: str = _compiled(template).merge(namespace)
    except TemplateFailed:
        raise
    except Exception as error:  # whatever a template of the user's does inside the engine is the template's fault
        raise TemplateFailed(str(error)) from error
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
    methods[JavaMap] = {**methods[dict], "toString": str, "containsKey": lambda self, key: key in self}
    methods[JsonList] = {**methods[list], "toString": str}
    methods[str] = {
        **methods[str],
        "replaceAll": _replace_all,
        "toString": str,
        "equals": lambda self, other: self == other,
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
