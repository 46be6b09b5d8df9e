"""Names of images: `[registry/]repository[:tag][@digest]`, in Docker's grammar (distribution/reference)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from preheat.oci.digest import is_digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_REGISTRY = re.compile(r"[a-zA-Z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?")


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry` is "" where none is named; `tag` is "latest" where neither tag nor digest is."""

    registry: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises ValueError, in a sentence, for what is no name of an image."""
        name, _, digest = text.partition("@")
        if digest and not is_digest(digest):
            raise ValueError(f"{text!r}: {digest!r} is not a sha256 digest")
        first, slash, rest = name.partition("/")
        has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if has_registry else ("", name)
        repository, colon, tag = path.rpartition(":") if ":" in path else (path, "", "")
        if registry and not _REGISTRY.fullmatch(registry):
            raise ValueError(f"{text!r}: {registry!r} is not a host")
        if not _REPOSITORY.fullmatch(repository):
            raise ValueError(f"{text!r}: an image's name is made of lower case letters, digits, and . _ - / between")
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"{text!r}: {tag!r} is not a tag")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        registry = f"{self.registry}/" if self.registry else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{registry}{self.repository}{tag}{digest}"
