"""What README.md and docs/ tell people to type exists: commands, options, make targets, links, pictures."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from preheat.cli.main import cli
from preheat.kernel.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SHELLS = {"", "sh", "bash", "shell", "console"}


def typed_lines(document: Path) -> Iterator[str]:
    """Command lines of a document's shell blocks, continuation lines joined, prompts and comments removed."""
    for language, block in FENCE.findall(document.read_text()):
        if language in SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                yield line.removeprefix("$ ").partition(" # ")[0].strip()


def words_after(program: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) for every line that runs `program`, also inside $( )."""
    found: list[tuple[str, list[str]]] = []
    for document in DOCUMENTS:
        for line in typed_lines(document):
            matches = re.finditer(rf"(?:^|\$\(|&& |\| )(?:\.venv/bin/)?{program} ([^|&)\"]+)", line)
            found.extend((document.name, shlex.split(match[1])) for match in matches)
    return found


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, f"preheat {name}: no such command"
    return found


def option_names(name: str) -> set[str]:
    known = {opt for param in command(name).params for opt in (*param.opts, *param.secondary_opts)}
    return known | {"-h", "--help"}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_readme_names_the_two_commands_of_a_fresh_clone() -> None:
    run = {arguments[0] for document, arguments in words_after("make") if document == "README.md"}
    assert {"demo", "test"} <= run


def test_make_targets_that_are_documented_exist() -> None:
    typed = {(document, arguments[0]) for document, arguments in words_after("make")}
    assert {target for _, target in typed} <= make_targets()


def test_every_make_target_is_in_its_help() -> None:
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert helped == make_targets()


def test_preheat_commands_and_options_that_are_documented_exist() -> None:
    for document, arguments in words_after("preheat"):
        if arguments[0].startswith("-"):
            continue
        own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
        typed = {word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)}
        assert typed <= option_names(arguments[0]), f"{document}: preheat {shlex.join(arguments)}"


@pytest.mark.parametrize("name", sorted(cli.list_commands(click.Context(cli))))
def test_every_command_is_documented_and_has_a_help_text(name: str) -> None:
    assert any(f"preheat {name}" in document.read_text() for document in DOCUMENTS)
    assert command(name).help


def test_every_setting_is_an_option_of_up() -> None:
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)}
    assert flags <= option_names("up")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(document.read_text())]
    missing = [
        target for target in targets if target and "://" not in target and not (document.parent / target).exists()
    ]
    assert missing == []
