"""Where functions from images run: containers of our own, Docker's, or plain processes."""

from __future__ import annotations

from dataclasses import dataclass

from preheat.kernel.errors import PreheatError
from preheat.sandbox.container import unusable
from preheat.sandbox.docker import engine
from preheat.sandbox.docker_api import DockerApi

_TOLD = "the setting image_sandbox says so"


@dataclass(frozen=True, slots=True)
class Choice:
    """`kind` is "container", "docker" or "process"; `problem` says why what was asked for cannot be had, and then
    functions from images are refused. `docker` is the engine, where it is one."""

    kind: str
    why: str
    problem: str = ""
    docker: DockerApi | None = None


def choose(wanted: str, docker_host: str) -> Choice:
    """`wanted` is the setting `image_sandbox`. Blocks for seconds at worst, asking an engine that hangs."""
    no_container = unusable() if wanted in ("auto", "container") else ""
    if wanted == "container":
        return Choice("container", _TOLD, problem=no_container or "")
    if no_container is None:
        return Choice("container", "root, runc and overlayfs are here")
    if wanted == "process":
        return Choice("process", _TOLD)
    try:
        api = engine(docker_host)
    except PreheatError as error:
        if wanted == "docker":
            return Choice("docker", _TOLD, problem=str(error))
        return Choice("process", f"there are no containers of our own ({no_container}), and {error}")
    if wanted == "docker":
        return Choice("docker", _TOLD, docker=api)
    return Choice(
        "docker", f"there are no containers of our own here ({no_container}), but an engine answers", docker=api
    )
