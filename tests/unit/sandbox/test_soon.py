"""Removing what killed processes have left, although one of them may not be dead yet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from preheat.sandbox import soon
from preheat.sandbox.soon import remove_tree, until_done

pytestmark = pytest.mark.anyio


pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "_AGAIN_S", 0)


async def test_what_is_written_while_it_is_removed_is_removed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "environment"
    (place / "tmp").mkdir(parents=True)
    whole = soon.shutil.rmtree
    writes = 3

    def beside_a_writer(directory: Path, ignore_errors: bool) -> None:
        nonlocal writes
        whole(directory, ignore_errors=ignore_errors)
        if writes:
            writes -= 1
            (place / "tmp").mkdir(parents=True)

    monkeypatch.setattr(soon.shutil, "rmtree", beside_a_writer)
    until_done(lambda: remove_tree(place))
    assert place.exists()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not place.exists()


async def test_it_is_given_up_in_the_end() -> None:
    tried = 0

    def never() -> bool:
        nonlocal tried
        tried += 1
        return False

    until_done(never, attempts=4)
    for _ in range(20):
        await asyncio.sleep(0)
    assert tried == 4


def test_without_a_loop_it_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    until_done(lambda: remove_tree(tmp_path / "environment"))
    until_done(lambda: False)
    assert not (tmp_path / "environment").exists()
