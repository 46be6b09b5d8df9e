"""PATCH operations as AWS defines them: JSON pointers with `~1` for "/", values always strings.

Source of the refusals: localstack's snapshot tests recorded against AWS (test_apigateway_api).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from preheat.services.apigateway.errors import bad_request

_S = TypeVar("_S", bound=msgspec.Struct)
Member = tuple[str, Callable[[str], Any]]
"""(attribute, what makes its value out of a patch's text)."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One operation: `parts` are the pointer's unescaped steps, `value` is "" where absent; `source` is copy's."""

    op: str
    path: str
    parts: tuple[str, ...]
    value: str
    source: str = ""


def patches(params: Mapping[str, Any], *, copies: bool = False) -> Iterator[Patch]:
    """The operations of a request, in order; raises BadRequestException for an `op` that is not for this request."""
    for raw in params.get("patchOperations") or ():
        op, path = raw.get("op", ""), raw.get("path", "")
        if op not in ("add", "remove", "replace") and not (copies and op == "copy"):
            raise bad_request("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
        parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
        yield Patch(op, path, parts, raw.get("value") or "", raw.get("from") or "")


def require_replace(patch: Patch) -> None:
    if patch.op != "replace":
        raise bad_request("Invalid patch operation specified. Must be one of: [replace]")


def boolean(value: str) -> bool:
    """Anything that is not "true" is false, as AWS reads it (recorded: `wrong-value-type`)."""
    return value.lower() == "true"


def patch_list(current: Sequence[str], patch: Patch) -> list[str]:
    """A list whose elements are addressed by their own value, such as `/binaryMediaTypes/image~1png`.

    `replace` takes the named element out and puts the value at the end.
    """
    if len(patch.parts) != 2:
        raise bad_request(f"Invalid patch path {patch.path}")
    named = patch.parts[1]
    kept = [item for item in current if item != named]
    if patch.op == "add":
        kept.append(named)
    elif patch.op == "replace":
        kept.append(patch.value)
    return kept


def patch_map(current: Mapping[str, str], patch: Patch) -> dict[str, str]:
    """A map addressed as `/variables/<key>`."""
    if len(patch.parts) != 2:
        raise bad_request(f"Invalid patch path {patch.path}")
    changed = dict(current)
    if patch.op == "remove":
        changed.pop(patch.parts[1], None)
    else:
        changed[patch.parts[1]] = patch.value
    return changed


def patch_members(value: _S, changes: Iterable[Patch], members: Mapping[str, Member]) -> _S:
    """A value with some members replaced; `members` names what may be, by its path without the slash.

    Raises AWS's words for any other path or operation (recorded for models and request validators).
    """
    for patch in changes:
        prefix = f"Invalid patch path  '{patch.path}' specified for op '{patch.op}'."
        if patch.op != "replace":
            raise bad_request(f"{prefix} Please choose supported operations")
        name = "/".join(patch.parts)
        if name not in members:
            raise bad_request(f"{prefix} Must be one of: [{', '.join(f'/{known}' for known in members)}]")
        attribute, convert = members[name]
        value = msgspec.structs.replace(value, **{attribute: convert(patch.value)})
    return value


def text(value: str) -> str:
    return value


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise bad_request(f"Invalid patch value  '{value}' specified: an integer is expected") from None


def number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise bad_request(f"Invalid patch value  '{value}' specified: a number is expected") from None
