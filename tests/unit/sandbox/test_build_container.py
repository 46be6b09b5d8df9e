"""Containers of a build: what runc is told, what is mounted where, and how an end is told in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preheat.kernel.build import BuildCommand, Mount
from preheat.sandbox import build_container
from preheat.sandbox.build_container import BuildContainers


class Started:
    """Stands in for the programs of util-linux and runc: a shell that does what `script` says instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        monkeypatch.setattr(build_container, "_OWN_NAMESPACES", [])
        monkeypatch.setattr(build_container, "_script", lambda command, skeleton, identity: script)


def command(work: Path, **members: object) -> BuildCommand:
    facts = {"layers": (work.parent / "base",), "arguments": ("/bin/sh", "-c", "x"), "environ": {"A": "1"}}
    work.mkdir(exist_ok=True)
    return BuildCommand(work=work, working_dir="/app", **{**facts, **members})  # type: ignore[arg-type]


def spec(work: Path, monkeypatch: pytest.MonkeyPatch, **members: object) -> dict[str, object]:
    Started(monkeypatch, "true")
    assert BuildContainers().run(command(work, **members), lambda line: None) == work / "upper"
    found: dict[str, object] = json.loads((work / "config.json").read_text())
    return found


def test_root_has_dockers_capabilities_and_others_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_root, as_ann = (
        spec(tmp_path / f"work{uid}", monkeypatch, uid=uid, gid=uid, groups=(7,))["process"] for uid in (0, 501)
    )
    assert isinstance(as_root, dict)
    assert isinstance(as_ann, dict)
    assert "CAP_CHOWN" in as_root["capabilities"]["effective"]
    assert not {"CAP_MKNOD", "CAP_SYS_ADMIN"} & set(as_root["capabilities"]["bounding"])
    assert as_ann["capabilities"]["effective"] == []
    assert (as_ann["user"]["uid"], as_ann["user"]["additionalGids"]) == (501, [7])
    assert (as_ann["args"], as_ann["env"], as_ann["cwd"]) == (["/bin/sh", "-c", "x"], ["A=1"], "/app")


def test_what_is_lent_is_mounted_and_has_a_place_outside_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "file").touch()
    mounts = (
        Mount(tmp_path / "cache", "/var/cache/pip", read_only=False),
        Mount(tmp_path / "file", "/app/file"),
        Mount(tmp_path / "file", "/dev/.preheat/file"),
    )
    found = spec(tmp_path / "work", monkeypatch, mounts=mounts, network=False)
    shown = found["mounts"]
    assert isinstance(shown, list)
    options = {one["destination"]: one["options"] for one in shown if one["type"] == "bind"}
    assert set(options) == {"/var/cache/pip", "/app/file", "/dev/.preheat/file"}  # no network, no resolv.conf
    assert ("rw" in options["/var/cache/pip"], "ro" in options["/app/file"]) == (True, True)
    linux = found["linux"]
    assert isinstance(linux, dict)
    assert {"type": "network"} in linux["namespaces"]
    skeleton = tmp_path / "work/skeleton"
    assert (skeleton / "var/cache/pip").is_dir()
    assert (skeleton / "app/file").is_file()
    assert list((skeleton / "dev").iterdir()) == []
    assert list((tmp_path / "work/upper").iterdir()) == []


def test_layers_are_named_from_where_they_lie_together(tmp_path: Path) -> None:
    layers = tuple(tmp_path / "images" / "layers" / name for name in ("a" * 64, "b" * 64))
    asked = command(tmp_path / "work", layers=layers)
    script = build_container._script(asked, tmp_path / "work/skeleton", "id")
    assert f"cd {tmp_path}\n" in script
    lower = f"images/layers/{'b' * 64}:images/layers/{'a' * 64}:work/skeleton"
    assert f"lowerdir={lower},upperdir=work/upper,workdir=work/overlay,redirect_dir=off" in script


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo one; echo two >&2; exit 7", "exit status 7: two"),
        ("exit 1", "exit status 1: it printed nothing"),
        ("kill -9 $$", "killed by signal 9: it printed nothing"),
        ("sh -c 'kill -15 $$'", "killed by signal 15"),
        ("echo 'mount: wrong fs type' >&2; exit 32", "give a --data-dir elsewhere"),
    ],
)
def test_an_end_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    Started(monkeypatch, script)
    said: list[str] = []
    with pytest.raises(RuntimeError, match=words):
        BuildContainers().run(command(tmp_path / "work"), said.append)
    assert said == (["  one", "  two"] if "two" in script else said)


def test_runcs_own_reason_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    message = "runc run failed: unable to start container process: exec: no such file"
    Started(monkeypatch, f"echo '{json.dumps({'msg': message})}' > {work}/runc.log; exit 1")
    with pytest.raises(RuntimeError, match=r"^exec: no such file$"):
        BuildContainers().run(command(work), lambda line: None)
