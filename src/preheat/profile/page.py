"""What a profile leaves in its folder: profile.json, profile.html (one file that needs nothing else), flame.png."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preheat.profile import flame, tree, words
from preheat.profile.study import SCHEMA, Profile

MOST_FILES = 15
_OPEN_SHARE = 0.15
"""Branches of the page's tree that cost more than this share of init start unfolded."""


def write(profile: Profile, name: str, out: Path) -> Sequence[Path]:
    """Write the three files; returns them. Needs jinja2 and matplotlib; raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "profile.json", out / "profile.html", out / "flame.png"]
    paths[0].write_text(json.dumps(as_dict(profile, name), indent=1, ensure_ascii=False) + "\n", "utf-8")
    paths[1].write_text(render(profile, name), "utf-8")
    flame.draw(profile, paths[2])
    return paths


def as_dict(profile: Profile, name: str) -> dict[str, Any]:
    """The profile for JSON, schema 1."""
    return {
        "schema": SCHEMA,
        "name": name,
        "handler": profile.program.handler,
        "init_ms": round(profile.init_ms, 3),
        "profile_ms": round(profile.root.ms, 3),
        "difference_percent": round(profile.difference_percent, 2),
        "plain_ms": [round(value, 3) for value in profile.plain_ms],
        "watched_ms": [round(value, 3) for value in profile.watched_ms],
        "resident_bytes": profile.resident_bytes,
        "invocations": profile.invocations,
        "answers": list(profile.answers),
        "unused": [asdict(row) for row in profile.costs.unused],
        "statements": [asdict(row) for row in profile.costs.statements],
        "files": [{"path": path, "opened": count, "bytes": size} for path, count, size in profile.files],
        "warnings": list(profile.warnings),
        "tree": tree.as_dict(profile.root),
    }


def render(profile: Profile, name: str) -> str:
    """The page as HTML; whatever came from the function is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preheat.profile"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    root = profile.root
    environment.tests["shown"] = lambda node: node.ms >= flame.LEAST_SHARE * root.ms
    boxes = flame.boxes(root)
    return environment.get_template("profile.html.j2").render(
        name=name,
        profile=profile,
        handler_ms=tree.handler_phase(root).ms,
        agreement=words.agreement(profile),
        boxes=boxes,
        rows=max(box.depth for box in boxes) + 1,
        colours=flame.COLOURS,
        meanings=flame.MEANINGS,
        phases=words.PHASES,
        use_of=words.use_of,
        method=words.METHOD,
        files=[(_below(path, profile), count, size) for path, count, size in profile.files[:MOST_FILES]],
        opened=(sum(row[1] for row in profile.files), sum(row[1] * row[2] for row in profile.files)),
        label=lambda node: words.label(node, profile),
        asked_at=words.asked_at,
        place=words.place,
        ms=words.milliseconds,
        mib=words.mib,
        is_open=lambda node: node.ms > _OPEN_SHARE * root.ms,
        least_share=flame.LEAST_SHARE,
        colour=flame.colour,
    )


def _below(path: str, profile: Profile) -> str:
    """A file's path below the function's code where it lies there."""
    prefix = str(profile.program.code_dir) + os.sep
    return path.removeprefix(prefix)
