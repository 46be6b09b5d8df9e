"""Which media types an API treats as binary (`binaryMediaTypes`).

Source: localstack's test_aws_proxy_binary_response, validated against AWS: only the first of several types counts; it
matches a configured type exactly or one with a wildcard on its right (`image/*`); a wildcard on the left never does.
"""

from __future__ import annotations

from collections.abc import Iterable


class BinaryMediaTypes:
    __slots__ = ("_all", "_exact", "_prefixes")

    def __init__(self, configured: Iterable[str]) -> None:
        types = [media_type.lower() for media_type in configured]
        self._all = "*/*" in types
        self._exact = frozenset(media_type for media_type in types if "*" not in media_type)
        self._prefixes = tuple(
            media_type[:-1] for media_type in types if media_type.endswith("/*") and "*" not in media_type[:-1]
        )

    def __bool__(self) -> bool:
        return self._all or bool(self._exact) or bool(self._prefixes)

    def match(self, header: str | None) -> bool:
        """Is the (first) type of a Content-Type or Accept header binary? With `*/*` everything is, absence included."""
        if self._all:
            return True
        if not header:
            return False
        first = header.partition(",")[0].partition(";")[0].strip().lower()
        return first in self._exact or (bool(self._prefixes) and first.startswith(self._prefixes))
