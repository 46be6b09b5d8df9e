"""What README.md and docs/ tell people to type exists, and what the code has is documented."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
from botocore import xform_name

from preheat.cli.main import cli
from preheat.kernel.events import RECORD_TYPES
from preheat.kernel.settings import Settings
from preheat.load.rows import COLUMNS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "iris" / "README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SHELLS = {"", "sh", "bash", "shell", "console"}
AWS_GLOBAL = {"--query", "--output", "--region", "--endpoint-url", "--profile", "--cli-binary-format"}
AWS_OWN = {"lambda": {"--zip-file"}}
"""Options that the aws CLI adds to the model's."""
AWS_OWN_COMMANDS = {("ecr", "get-login-password")}


def typed_lines(document: Path) -> Iterator[str]:
    """Command lines of a document's shell blocks, continuation lines joined, prompts and comments removed."""
    for language, block in FENCE.findall(document.read_text()):
        if language in SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                yield line.removeprefix("$ ").partition(" # ")[0].strip()


def programs(line: str) -> Iterator[list[str]]:
    """Each program that a line runs, with its arguments, also in pipes and inside $( )."""
    words: list[str] = []
    for word in [*shlex.split(line), "|"]:
        if word in ("|", "&&"):
            if words:
                yield words
            words = []
        else:
            if word.startswith("$(") and word.endswith(")"):
                yield from programs(word[2:-1])
            words.append(word)


def words_after(program: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) for every line that runs `program`."""
    found: list[tuple[str, list[str]]] = []
    for document in DOCUMENTS:
        for line in typed_lines(document):
            found.extend(
                (document.name, words[1:])
                for words in programs(line)
                if words[0].removeprefix(".venv/bin/") == program and words[1:]
            )
    return found


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, f"preheat {name}: no such command"
    return found


def option_names(command: click.Command) -> set[str]:
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    if isinstance(command, click.Group):
        members = (
            command.get_command(click.Context(command), name) for name in command.list_commands(click.Context(command))
        )
        known = known.union(*(option_names(member) for member in members if member is not None))
    return known | {"-h", "--help"}


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


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
    found = words_after("preheat")
    assert len(found) > 20
    for document, arguments in found:
        if not arguments[0].startswith("-"):
            own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
            unknown = options(own) - option_names(command(arguments[0]))
            assert not unknown, f"{document}: preheat {shlex.join(arguments)}"


def test_aws_commands_that_are_documented_exist() -> None:
    """By AWS's own models: service, operation or waiter, and every option."""
    found = words_after("aws")
    assert len(found) > 8
    session = botocore.session.get_session()
    for document, (service, name, *rest) in found:
        if (service, name) in AWS_OWN_COMMANDS:
            continue
        line = f"{document}: aws {service} {name} {shlex.join(rest)}"
        model = session.get_service_model(service)
        if name == "wait":
            waiters = session.get_waiter_model(service).waiter_names
            (operation,) = {w for w in waiters if xform_name(w, "-") == rest[0]} or {""}
            assert operation, line
            name = xform_name(session.get_waiter_model(service).get_waiter(operation).operation, "-")
        (operation,) = {one for one in model.operation_names if xform_name(one, "-") == name} or {""}
        assert operation, line
        shape = model.operation_model(operation).input_shape
        known = (
            {f"--{xform_name(member, '-')}" for member in (shape.members if shape else {})}
            | AWS_GLOBAL
            | AWS_OWN.get(service, set())
        )
        assert not options(rest) - known, line


def test_python_that_is_documented_is_python() -> None:
    blocks = [
        block
        for document in DOCUMENTS
        for language, block in FENCE.findall(document.read_text())
        if language == "python"
    ]
    assert blocks
    for block in blocks:
        ast.parse(block)


@pytest.mark.parametrize("name", sorted(cli.list_commands(click.Context(cli))))
def test_every_command_is_documented_and_has_a_help_text(name: str) -> None:
    assert any(f"preheat {name}" in document.read_text() for document in DOCUMENTS)
    assert command(name).help


def test_every_setting_is_an_option_of_up() -> None:
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)}
    assert flags <= option_names(command("up"))


def write_reference() -> Any:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "scripts" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_has() -> None:
    """Commands with every option, settings and journal records."""
    script = write_reference()
    text = script.REFERENCE.read_text()
    assert script.updated(text) == text, "docs/reference.md is behind the code: run python scripts/write_reference.py"
    for field in dataclasses.fields(Settings):
        assert f"| `{field.name}` |" in text
    for name in RECORD_TYPES.values():
        assert f"| `{name}` |" in text


def test_every_column_of_requests_csv_is_documented() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    section = text.partition("### requests.csv")[2].partition("\n### ")[0]
    assert set(COLUMNS) <= set(re.findall(r"`(\w+)`", section))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_links_lead_somewhere(document: Path) -> None:
    missing = []
    for link in LINK.findall(document.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        path = document.parent / target if target else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(link)
    assert missing == []


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, punctuation away, spaces to hyphens."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
