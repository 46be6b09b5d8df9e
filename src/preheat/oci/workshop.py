"""Where `preheat build` works: the local images, their unpacked layers and what is kept between builds."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from preheat.kernel.build import BuildRunner, Say
from preheat.oci.bases import Bases
from preheat.oci.builder import build
from preheat.oci.layers import LayerStore
from preheat.oci.layout import Layout
from preheat.oci.manifest import Descriptor
from preheat.oci.plan import BuildPlan, BuildTools, architecture
from preheat.oci.reference import Reference
from preheat.oci.stage import MOUNTS

KEEP_CACHED_S = 14 * 24 * 3600.0
"""Layers of RUN, bases and mounted caches that no build has used for two weeks are removed by a collection."""

_LONGEST_BUILD_S = 24 * 3600.0


class Workshop:
    """`<data_dir>/images` is an OCI layout; skopeo reads an image as `oci:<data_dir>/images:<name>`."""

    def __init__(self, data_dir: Path) -> None:
        self.layout = Layout(data_dir / "images")
        self.layers = LayerStore(data_dir / "images" / "unpacked", self.layout.blobs)

    def build(
        self,
        plan: BuildPlan,
        name: str,
        interpreter: Callable[[str], Path],
        emulator: Path,
        credentials: Callable[[str], str | None],
        say: Say,
        runner: BuildRunner | None = None,
        no_runner: str = "",
        machine: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Build an image and give it a name ("iris" means "iris:latest"). Raises DockerfileError, ValueError for the
        name, OSError."""
        reference = Reference.parse(name)
        bases = Bases(self.layout, interpreter, emulator, credentials, say)
        tools = BuildTools(
            self.layout,
            self.layers,
            lambda wanted: bases.find(wanted, architecture()),
            interpreter,
            say,
            runner,
            no_runner,
            machine or {},
        )
        image = build(plan, tools)
        self.layout.tag(str(reference), image)
        return image

    def find(self, name: str) -> Descriptor | None:
        """A local image, with "latest" for a tag where none is given. Raises ValueError for what is no name."""
        return self.layout.find(str(Reference.parse(name))) or self.layout.find(name)

    def collect(self, grace_s: float) -> tuple[int, int]:
        """Remove blobs of no image and unpacked bases, unless touched within `grace_s`; (how many, bytes)."""
        now_s = time.time()
        keep: set[str] = set()
        cache = self.layout.root / "cache"
        for path in cache.glob("*.json") if cache.is_dir() else ():
            if path.stat().st_mtime < now_s - KEEP_CACHED_S:
                path.unlink()
            else:
                value = json.loads(path.read_text())
                keep.update(item["digest"] for item in value.get("layers", [value]))
        self.layers.collect((), (), now_s - KEEP_CACHED_S)
        # caches that RUN mounts, and what builds that were killed have left
        for pattern, kept_s in (
            (f"{MOUNTS}/*", KEEP_CACHED_S),
            (".build-*", _LONGEST_BUILD_S),
            (".base-*", _LONGEST_BUILD_S),
        ):
            for path in self.layout.root.glob(pattern):
                if path.stat().st_mtime < now_s - kept_s:
                    shutil.rmtree(path)
        return self.layout.collect(keep, now_s - grace_s)
