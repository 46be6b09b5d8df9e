"""Settings from preheat.toml or pyproject.toml's [tool.preheat], with the command line over them."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings

_CHOICES = {
    "tls": ("off", "on"),
    "transport": ("socket", "http"),
    "sandbox": ("process",),
    "image_sandbox": ("auto", "container", "docker", "process"),
    "container_network": ("isolated", "host"),
}
_ZERO_ALLOWED = ("port", "spares_max", "linger_us")
_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def load(directory: Path, overrides: dict[str, Any]) -> Settings:
    """The settings for a server started in `directory`; `overrides` win where not None.

    Raises PreheatError (253) naming the file and the key for anything it does not know.
    """
    source, values = _from_files(directory)
    for key in values:
        if key not in _FIELDS:
            raise PreheatError(f"{source}: unknown setting {key!r}; known: {', '.join(_FIELDS)}", 253)
    values |= {key: value for key, value in overrides.items() if value is not None}
    return Settings(**{key: _checked(source, key, value) for key, value in values.items()})


def _from_files(directory: Path) -> tuple[str, dict[str, Any]]:
    own, project = directory / "preheat.toml", directory / "pyproject.toml"
    if own.is_file():
        return own.name, _parse(own)
    if project.is_file():
        values = _parse(project).get("tool", {}).get("preheat", {})
        return f"{project.name} [tool.preheat]", dict(values)
    return "command line", {}


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PreheatError(f"{path.name}: {error}", 253) from None


def _checked(source: str, key: str, value: Any) -> Any:
    kind = str(_FIELDS[key].type)
    if kind == "Path":
        return Path(value)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise PreheatError(f"{source}: {key} = {value!r} is not one of {', '.join(_CHOICES[key])}", 253)
    wanted: tuple[type, ...] = {"int": (int,), "float": (int, float), "str": (str,)}[kind]
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise PreheatError(f"{source}: {key} = {value!r} is not {kind}", 253)
    if isinstance(value, (int, float)) and (value < 0 or (value == 0 and key not in _ZERO_ALLOWED)):
        raise PreheatError(f"{source}: {key} = {value!r} must be above 0", 253)
    return value
