"""Single values as text: in URIs, query strings, headers, forms and XML."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from preheat.aws import timestamps
from preheat.aws.failures import malformed
from preheat.aws.json_codec import read_blob
from preheat.aws.model import Shape

TextReader = Callable[[str], Any]
TextWriter = Callable[[Any], str]


def text_reader(shape: Shape) -> TextReader:
    """Reads one scalar; raises AwsError SerializationException."""
    if shape.type == "blob":
        return read_blob
    return _guarded(_READERS[shape.type], shape.type)


def text_writer(shape: Shape, timestamp_style: str) -> TextWriter:
    """Writes one scalar; `timestamp_style` is the protocol's default for this place."""
    if shape.type == "timestamp":
        style = shape.traits.get("timestampFormat", timestamp_style)
        return lambda moment: timestamps.render(moment, style)
    return _WRITERS[shape.type]


def _guarded(convert: Callable[[str], Any], kind: str) -> TextReader:
    if convert is str:
        return str

    def read(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, KeyError) as error:
            raise malformed(f"{text!r} can not be converted to {kind}") from error

    return read


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _write_float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "character": str,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": _boolean,
    "timestamp": timestamps.parse,
}

_WRITERS: dict[str, TextWriter] = {
    "string": str,
    "character": str,
    "integer": str,
    "long": str,
    "float": _write_float,
    "double": _write_float,
    "boolean": lambda value: "true" if value else "false",
    "blob": lambda value: base64.b64encode(value).decode(),
}
