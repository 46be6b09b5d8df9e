"""What a build is given: the plan of whoever wants an image, and the tools it may use."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preheat.kernel.build import BuildRunner, Say
from preheat.oci.layers import LayerStore
from preheat.oci.layout import Layout
from preheat.oci.pack import PackedLayer

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's, in the words of image configurations."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def is_own_platform(text: str) -> bool:
    """Whether `os/architecture[/variant]` means this machine (containerd's platforms package: the system may be left
    out, the kernel's names of architectures will do, v8 is arm64's only variant)."""
    parts = text.lower().split("/")
    if parts[0] != "linux":
        parts.insert(0, "linux")
    if len(parts) == 3 and parts[1:] == ["arm64", "v8"]:
        parts.pop()
    return len(parts) == 2 and _ARCHITECTURES.get(parts[1], parts[1]) == architecture()


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What FROM names: layers, lowest first, and the `config` of its configuration."""

    layers: tuple[PackedLayer, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to build. `build_args` are the --build-arg of the command line, `target` the stage to end with; without
    `cached` every RUN is run again."""

    context: Path
    dockerfile: Path
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    cached: bool = True


@dataclass(frozen=True, slots=True)
class BuildTools:
    """What a build needs from outside. `find_base` gives the image of a name that is no stage, or raises
    ValueError saying why not; `interpreter` the Python of a version ("3.11"), or raises an exception that says so.
    `runner` runs what RUN says; where there is none, `no_runner` says why. `machine` are this machine's environment
    variables, whose proxies, certificates and package index a RUN is lent."""

    layout: Layout
    layers: LayerStore
    find_base: Callable[[str], BaseImage]
    interpreter: Callable[[str], Path]
    say: Say
    runner: BuildRunner | None = None
    no_runner: str = "no container can be started here"
    machine: Mapping[str, str] = field(default_factory=dict)
