"""The table behind every look-up: whatever happened before, each spelling means what it should, or nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from preheat.kernel.function import FunctionVersion
from preheat.services.lambda_.attachments import Alias
from preheat.services.lambda_.serving import Serving

NAMES = st.sampled_from(["iris", "rose"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2"])
ALIASES = st.dictionaries(
    st.sampled_from(["prod", "test"]), st.tuples(VERSIONS, st.sampled_from(["1", "2"]), st.booleans()), max_size=2
)


class Table(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.serving = Serving()
        self.versions: dict[str, dict[str, FunctionVersion]] = {}
        self.aliases: dict[str, dict[str, tuple[str, str, bool]]] = {}

    @rule(name=NAMES, version=VERSIONS)
    def put(self, name: str, version: str) -> None:
        made = FunctionVersion(name, version, f"arn:{name}", "revision", "python3.11", "a.b", "/code")
        assert self.serving.put(made) is self.versions.setdefault(name, {}).get(version)
        self.versions[name][version] = made

    @rule(name=NAMES, version=VERSIONS)
    def drop(self, name: str, version: str) -> None:
        assert self.serving.drop(name, version) is self.versions.get(name, {}).pop(version, None)

    @rule(name=NAMES)
    def drop_all(self, name: str) -> None:
        assert self.serving.drop_all(name) == list(self.versions.pop(name, {}).values())
        self.aliases.pop(name, None)

    @rule(name=NAMES, aliases=ALIASES)
    def set_aliases(self, name: str, aliases: dict[str, Any]) -> None:
        made = [
            Alias(alias, main, "revision", weights={other: 1.0} if weighted and other != main else {})
            for alias, (main, other, weighted) in aliases.items()
        ]
        self.serving.set_aliases(name, made)
        self.aliases[name] = aliases

    @rule(name=NAMES, reserved=st.none() | st.integers(0, 5))
    def set_reserved(self, name: str, reserved: int | None) -> None:
        self.serving.set_reserved(name, reserved)
        self.versions[name] = {version.version: version for version in self.serving.versions(name)}
        assert all(version.reserved_concurrency == reserved for version in self.versions[name].values())

    @invariant()
    def every_spelling_means_what_it_should(self) -> None:
        for name in ("iris", "rose"):
            versions = self.versions.get(name, {})
            for start in (name, f"arn:{name}"):
                assert self.serving.find(start, None) is versions.get("$LATEST")
                for version in ("$LATEST", "1", "2", "3"):
                    assert self.serving.find(f"{start}:{version}", None) is versions.get(version)
                    assert self.serving.find(start, version) is versions.get(version)
                for alias in ("prod", "test"):
                    assert self.serving.find(start, alias) is self.meant(name, alias)

    def meant(self, name: str, alias: str) -> FunctionVersion | None:
        """A weight of 1 sends everything to the further version, where both serve."""
        versions = self.versions.get(name, {})
        if alias not in self.aliases.get(name, {}):
            return None
        main, other, weighted = self.aliases[name][alias]
        if main not in versions:
            return None
        return versions[other] if weighted and other in versions else versions[main]


Table.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestTable = Table.TestCase
