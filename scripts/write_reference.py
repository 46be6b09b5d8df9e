"""Writes into docs/reference.md what the code itself knows: commands with their options, settings, journal records.

    python scripts/write_reference.py

Each part stands between two comments, `<!-- NAME -->` and `<!-- end NAME -->`; the rest of the file is written
by hand. tests/unit/test_readme.py fails while the file is behind the code.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from preheat.cli.main import cli
from preheat.kernel import events
from preheat.kernel.settings import Settings

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"


def commands() -> str:
    """A section per command: its usage, its help, a table of its options."""
    parts = []
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        parts.append("\n".join(_command(f"preheat {name}", command)))
    return "\n".join(parts)


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"### {path}", "", f"`{path} {usage}`", "", inspect.cleandoc(command.help or ""), "")
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        yield from ("| option | meaning |", "|---|---|")
        yield from (_option(one, context) for one in options)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            if member is not None:
                yield from _command(f"{path} {name}", member)


def _option(option: click.Option, context: click.Context) -> str:
    names, meaning = option.get_help_record(context) or (", ".join(option.opts), "")
    return f"| `{_cell(names)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """One row per field of `Settings`; what it means is said where it is defined, or by the option of `preheat up`."""
    up = cli.get_command(click.Context(cli), "up")
    assert up is not None
    helps = {one.name: one.help or "" for one in up.params if isinstance(one, click.Option)}
    said = _attribute_docstrings(Settings)
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        default = "the machine's" if field.default is dataclasses.MISSING else f"`{field.default}`"
        meaning = said.get(field.name) or re.sub(r" \(default[^)]*\)", "", helps.get(field.name, ""))
        lines.append(f"| `{field.name}` | {default} | {_cell(meaning)} |")
    return "\n".join(lines)


def records() -> str:
    """One row per type of journal record, with its fields as the code names them."""
    lines = ["| type | fields |", "|---|---|"]
    for kind, name in events.RECORD_TYPES.items():
        fields = ", ".join(f"`{field}`" for field in inspect.get_annotations(kind))
        own = "" if (kind.__doc__ or "").startswith(f"{kind.__name__}(") else _cell(kind.__doc__ or "")
        lines.append(f"| `{name}` | {fields}{'. ' + own if own else ''} |")
    return "\n".join(lines)


def _attribute_docstrings(kind: type) -> dict[str, str]:
    """The string literal below each annotated attribute of a class."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for above, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr):
            found[above.target.id] = str(ast.literal_eval(below.value))
    return found


def updated(text: str) -> str:
    """`text` with every generated part as the code has it now."""
    for name, make in {"commands": commands, "settings": settings, "records": records}.items():
        begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{make().strip()}\n\n{end}{after}"
    return text


def main() -> int:
    REFERENCE.write_text(updated(REFERENCE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
