"""What every spelling of a function, version or alias means right now: one look-up on Invoke's hot path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from preheat.kernel.function import FunctionVersion
from preheat.services.lambda_.attachments import Alias
from preheat.services.lambda_.models import LATEST


@dataclass(frozen=True, slots=True)
class _Split:
    """An alias with two versions."""

    alias: Alias
    versions: dict[str, FunctionVersion]

    def pick(self) -> FunctionVersion:
        return self.versions[self.alias.pick()]


class Serving:
    """The versions that may be invoked, and a table of all names and ARNs for them."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, FunctionVersion]] = {}
        self._aliases: dict[str, list[Alias]] = {}
        self._spelt: dict[str, list[str]] = {}
        self._table: dict[str, FunctionVersion | _Split] = {}

    def find(self, identifier: str, qualifier: str | None) -> FunctionVersion | None:
        """By name or full ARN, qualified or not; None for other spellings and for what does not serve."""
        found = self._table.get(identifier if qualifier is None else f"{identifier}:{qualifier}")
        return found.pick() if type(found) is _Split else found  # type: ignore[return-value]

    def version(self, name: str, version: str = LATEST) -> FunctionVersion | None:
        return self._versions.get(name, {}).get(version)

    def versions(self, name: str) -> list[FunctionVersion]:
        return list(self._versions.get(name, {}).values())

    def code_dirs(self) -> set[str]:
        """Of everything that serves, layers included."""
        running = [version for versions in self._versions.values() for version in versions.values()]
        return {directory for version in running for directory in (version.code_dir, *version.layer_dirs)}

    def put(self, version: FunctionVersion) -> FunctionVersion | None:
        """Let it serve; returns the one it takes the place of."""
        versions = self._versions.setdefault(version.name, {})
        before = versions.get(version.version)
        versions[version.version] = version
        self._respell(version.name)
        return before

    def drop(self, name: str, version: str) -> FunctionVersion | None:
        dropped = self._versions.get(name, {}).pop(version, None)
        self._respell(name)
        return dropped

    def drop_all(self, name: str) -> list[FunctionVersion]:
        dropped = list(self._versions.pop(name, {}).values())
        self._aliases.pop(name, None)
        self._respell(name)
        return dropped

    def set_aliases(self, name: str, aliases: Iterable[Alias]) -> None:
        self._aliases[name] = list(aliases)
        self._respell(name)

    def set_reserved(self, name: str, reserved: int | None) -> None:
        versions = self._versions.get(name, {})
        for number, version in list(versions.items()):
            if version.reserved_concurrency != reserved:
                versions[number] = replace(version, reserved_concurrency=reserved)
        self._respell(name)

    def _respell(self, name: str) -> None:
        """Make the table's entries of one function anew."""
        for key in self._spelt.pop(name, ()):
            del self._table[key]
        versions = self._versions.get(name)
        if not versions:
            return
        entries: dict[str, FunctionVersion | _Split] = dict(versions)
        for alias in self._aliases.get(name, ()):
            if alias.version in versions:
                split = alias.weights and all(version in versions for version in alias.weights)
                entries[alias.name] = _Split(alias, versions) if split else versions[alias.version]
        arn = next(iter(versions.values())).arn
        spelt = {f"{start}:{qualifier}": entry for start in (name, arn) for qualifier, entry in entries.items()}
        if LATEST in versions:
            spelt |= {name: versions[LATEST], arn: versions[LATEST]}
        self._table |= spelt
        self._spelt[name] = list(spelt)
