"""Building an image from a Dockerfile without a daemon and without running anything of the image."""

from __future__ import annotations

import json
import platform
import posixpath
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preheat.oci.copying import Source, extracted, from_context, from_tree, placements
from preheat.oci.dockerfile import DockerfileError, Instruction, parse, substitute
from preheat.oci.dockerignore import Context
from preheat.oci.lambda_base import OWN_BASE_LABEL
from preheat.oci.layer_cache import read_cached, write_cached
from preheat.oci.layers import Layer, LayerStore
from preheat.oci.layout import Layout
from preheat.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor
from preheat.oci.pack import PackedLayer, pack
from preheat.oci.pip_step import PipInstall, PipStep, Say, parse_run, python_of
from preheat.oci.tree import Entry, Tree, TreeError, directory

_CREATED = "1980-01-01T00:00:00Z"
"""Of every built image: the time of a build is no part of what is built."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_USE_DOCKER = "is not built in preheat: use docker build"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What FROM names: layers, lowest first, and the `config` of its configuration."""

    layers: tuple[PackedLayer, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to build. `build_args` are the --build-arg of the command line, `target` the stage to end with."""

    context: Path
    dockerfile: Path
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None


@dataclass(frozen=True, slots=True)
class BuildTools:
    """What a build needs from outside. `find_base` gives the image of a name that is no stage, or raises
    ValueError saying why not; `interpreter` the Python of a version ("3.11"), or raises an exception that says so."""

    layout: Layout
    layers: LayerStore
    find_base: Callable[[str], BaseImage]
    interpreter: Callable[[str], Path]
    say: Say


def build(plan: BuildPlan, tools: BuildTools) -> Descriptor:
    """Build and return the image's manifest, which is in the layout then. Raises DockerfileError, OSError."""
    instructions = parse(plan.dockerfile.read_text("utf-8"))
    with tempfile.TemporaryDirectory(dir=tools.layout.blobs.work_dir.parent, prefix=".build-") as work:
        stages = _Stages(plan, tools, Path(work))
        for instruction in instructions:
            stages.take(instruction)
            if stages.complete(instruction, instructions):
                break
        return stages.result().save()


class _Stages:
    """The stages of one Dockerfile, in order, and the ARGs before the first."""

    def __init__(self, plan: BuildPlan, tools: BuildTools, work: Path) -> None:
        self.plan = plan
        self.tools = tools
        self.work = work
        self.context = Context(plan.context, plan.dockerfile)
        self.arguments: dict[str, str] = _platform_arguments()
        self._list: list[_Stage] = []
        self._names: dict[str, _Stage] = {}

    def take(self, instruction: Instruction) -> None:
        if instruction.name == "FROM":
            self._from(instruction)
        elif self._list:
            self._list[-1].take(instruction)
        elif instruction.name == "ARG":
            self.arguments.update(_declared(instruction, self.arguments, self.plan.build_args))
        else:
            raise instruction.fail(f"{instruction.name} before the first FROM")

    def complete(self, instruction: Instruction, everything: list[Instruction]) -> bool:
        """Whether the target stage ends with this instruction."""
        if self.plan.target is None or self.plan.target.lower() not in self._names:
            return False
        following = everything[everything.index(instruction) + 1 :]
        at_end = not following or following[0].name == "FROM"
        return at_end and self._names[self.plan.target.lower()] is self._list[-1]

    def result(self) -> _Stage:
        if self.plan.target is not None:
            wanted = self._names.get(self.plan.target.lower())
            if wanted is None:
                raise DockerfileError(1, f"there is no stage {self.plan.target!r}")
            return wanted
        if not self._list:
            raise DockerfileError(1, "there is no FROM")
        return self._list[-1]

    def _from(self, instruction: Instruction) -> None:
        if set(instruction.flags) - {"platform"}:
            raise instruction.fail(f"FROM --{next(iter(instruction.flags))} {_USE_DOCKER}")
        words = instruction.words(self.arguments)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
            raise instruction.fail("FROM is: FROM image [AS name]")
        parent = self._names.get(words[0].lower())
        if parent is not None:
            stage = parent.child()
        elif words[0] == "scratch":
            stage = _Stage(self, BaseImage((), {}))
        else:
            stage = _Stage(self, self.base(instruction, words[0]))
        self._names[str(len(self._list))] = stage
        self._list.append(stage)
        if len(words) == 3:
            self._names[words[2].lower()] = stage

    def base(self, instruction: Instruction, name: str) -> BaseImage:
        try:
            return self.tools.find_base(name)
        except (ValueError, RuntimeError) as error:
            raise instruction.fail(f"{instruction.name} {name}: {error}") from None

    def tree(self, instruction: Instruction, name: str) -> Tree:
        """The files that `COPY --from=name` copies from: another stage's, or another image's."""
        stage = self._names.get(name.lower())
        if stage is not None and stage is not self._list[-1]:
            return stage.whole_tree()
        return _Stage(self, self.base(instruction, name)).whole_tree()


class _Stage:
    """One stage: what it is made of so far."""

    def __init__(self, stages: _Stages, base: BaseImage) -> None:
        self._stages = stages
        self._tools = stages.tools
        self._layers: list[PackedLayer] = list(base.layers)
        self._config: dict[str, Any] = json.loads(json.dumps(base.config))
        self._env = dict(item.partition("=")[::2] for item in self._config.get("Env") or ())
        self._arguments: dict[str, str] = {}
        self._own_cmd = False
        self._tree = Tree(self._unpacked())
        self._tree_is_behind = False

    def child(self) -> _Stage:
        """A stage that goes on from this one."""
        other = _Stage(self._stages, BaseImage(tuple(self._layers), self._configuration()))
        other._tree_is_behind = False
        return other

    def take(self, instruction: Instruction) -> None:
        """Carry out one instruction. Raises DockerfileError."""
        method: Callable[[Instruction], None] | None = getattr(self, f"_do_{instruction.name.lower()}", None)
        if method is None:
            raise instruction.fail(f"{instruction.name} {_USE_DOCKER}")
        try:
            method(instruction)
        except DockerfileError:
            raise
        except (ValueError, RuntimeError) as error:
            raise instruction.fail(f"{instruction.name}: {error}") from None

    def whole_tree(self) -> Tree:
        """Everything in the stage, packages installed by pip included."""
        if self._tree_is_behind:
            self._tree = Tree(self._unpacked())
            self._tree_is_behind = False
        return self._tree

    def save(self) -> Descriptor:
        """Write configuration and manifest."""
        blobs = self._tools.layout.blobs
        configuration = {
            "created": _CREATED,
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": self._configuration(),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self._layers]},
            "history": [{"created": _CREATED, "created_by": "preheat build"} for _ in self._layers],
        }
        body = _json(configuration)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": Descriptor(OCI_CONFIG, blobs.put(body), len(body)).as_dict(),
                "layers": [layer.descriptor.as_dict() for layer in self._layers],
            }
        )
        return Descriptor(OCI_MANIFEST, blobs.put(manifest), len(manifest))

    # instructions

    def _do_arg(self, instruction: Instruction) -> None:
        outer = {**self._stages.arguments, **self._stages.plan.build_args}
        self._arguments.update(_declared(instruction, self._variables, outer))

    def _do_env(self, instruction: Instruction) -> None:
        self._env.update(instruction.pairs(self._variables))

    def _do_label(self, instruction: Instruction) -> None:
        self._config["Labels"] = {**(self._config.get("Labels") or {}), **instruction.pairs(self._variables)}

    def _do_maintainer(self, instruction: Instruction) -> None:
        """Kept by Docker as the image's author, which nothing here reads."""

    def _do_workdir(self, instruction: Instruction) -> None:
        path = self._absolute(instruction.expand(self._variables))
        self._config["WorkingDir"] = path
        if self._tree.get(self._tree.resolve(path)) is None:
            self._add([directory(self._tree.resolve(path).strip("/"))])

    def _do_user(self, instruction: Instruction) -> None:
        self._config["User"] = instruction.expand(self._variables)

    def _do_expose(self, instruction: Instruction) -> None:
        ports: dict[str, dict[str, str]] = {
            port if "/" in port else f"{port}/tcp": {} for port in instruction.words(self._variables)
        }
        self._config["ExposedPorts"] = {**(self._config.get("ExposedPorts") or {}), **ports}

    def _do_volume(self, instruction: Instruction) -> None:
        array = instruction.array()
        names = array if array is not None else instruction.words(self._variables)
        self._config["Volumes"] = {**(self._config.get("Volumes") or {}), **{name: {} for name in names}}

    def _do_stopsignal(self, instruction: Instruction) -> None:
        self._config["StopSignal"] = instruction.expand(self._variables)

    def _do_cmd(self, instruction: Instruction) -> None:
        self._config["Cmd"] = _command(instruction)
        self._own_cmd = True

    def _do_entrypoint(self, instruction: Instruction) -> None:
        self._config["Entrypoint"] = _command(instruction)
        if not self._own_cmd:  # the base's CMD was meant for the base's entry point
            self._config.pop("Cmd", None)

    def _do_copy(self, instruction: Instruction) -> None:
        self._check_flags(instruction, {"from", "chown", "chmod", "link"})
        patterns, target = self._sources_and_target(instruction)
        other = instruction.flags.get("from")
        if other:
            tree = self._stages.tree(instruction, substitute(other, self._variables))
            sources = from_tree(tree, patterns)
        else:
            sources = from_context(self._stages.context, patterns)
        self._place(instruction, sources, target)

    def _do_add(self, instruction: Instruction) -> None:
        self._check_flags(instruction, {"chown", "chmod", "link"})
        patterns, target = self._sources_and_target(instruction)
        if any("://" in pattern or pattern.startswith("git@") for pattern in patterns):
            raise instruction.fail(f"ADD of a URL {_USE_DOCKER}")
        sources: list[Source] = []
        for number, source in enumerate(from_context(self._stages.context, patterns)):
            path = source.root.source
            work = self._stages.work / f"add-{len(self._layers)}-{number}"
            work.mkdir()
            sources.append((extracted(path, work) if path is not None else None) or source)
        self._place(instruction, sources, target)

    def _do_run(self, instruction: Instruction) -> None:
        installs = parse_run(instruction, self._variables)
        version = python_of(self._tree)
        if version is None:
            raise instruction.fail(f"RUN in an image without Lambda's Python {_USE_DOCKER}")
        own_base = OWN_BASE_LABEL in (self._config.get("Labels") or {})
        step = PipStep(self._tools.interpreter(version), version, own_base=own_base, say=self._tools.say)
        for install in installs:
            self._layers.append(self._installed(step, install))
            self._tree_is_behind = True

    # parts

    def _installed(self, step: PipStep, install: PipInstall) -> PackedLayer:
        workdir = self._absolute("")
        key = step.key(install, [layer.diff_id for layer in self._layers], workdir)
        cache = self._tools.layout.root / "cache" / f"{key}.json"
        cached = read_cached(cache, self._tools.layout)
        if cached is not None:
            self._tools.say(f"pip install {' '.join(install.arguments)}: cached")
            return cached
        work = self._stages.work / f"pip-{len(self._layers)}"
        work.mkdir()
        layer = pack(step.run(install, self._tree, workdir, work), self._tools.layout.blobs)
        write_cached(cache, layer)
        return layer

    def _place(self, instruction: Instruction, sources: list[Source], target: str) -> None:
        flags = instruction.flags
        chmod = flags.get("chmod")
        mode = int(substitute(chmod, self._variables), 8) if chmod else None
        chown = flags.get("chown")
        owner = self._owner(substitute(chown, self._variables)) if chown else None
        self._add(placements(sources, target, self._tree, mode=mode, owner=owner))

    def _add(self, entries: Any) -> None:
        added: list[Entry] = []
        for entry in entries:
            added += self._tree.add(entry)
        self._layers.append(pack(added, self._tools.layout.blobs))

    def _owner(self, text: str) -> tuple[int, int]:
        user, _, group = text.partition(":")
        uid = self._number(user, "/etc/passwd")
        return uid, self._number(group, "/etc/group") if group else uid

    def _number(self, name: str, database: str) -> int:
        if name.isdecimal():
            return int(name)
        for line in (self._tree.read(database) or b"").decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
                return int(fields[2])
        if name == "root":
            return 0
        raise TreeError(f"the image's {database} has no {name}")

    def _sources_and_target(self, instruction: Instruction) -> tuple[list[str], str]:
        array = instruction.array()
        if array is not None:
            words = [substitute(item, self._variables) for item in array]
        else:
            words = instruction.words(self._variables)
        if len(words) < 2:
            raise instruction.fail(f"{instruction.name} needs a source and a destination")
        target = self._absolute(words[-1])
        keeps_slash = words[-1].endswith(("/", "/.")) or words[-1] in (".", "./")
        return words[:-1], f"{target.rstrip('/')}/" if keeps_slash else target

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join("/", self._config.get("WorkingDir") or "/", path))

    @property
    def _variables(self) -> dict[str, str]:
        return {**self._arguments, **self._env}

    def _check_flags(self, instruction: Instruction, known: set[str]) -> None:
        for flag in instruction.flags:
            if flag not in known:
                raise instruction.fail(f"{instruction.name} --{flag} {_USE_DOCKER}")

    def _configuration(self) -> dict[str, Any]:
        env = [f"{key}={value}" for key, value in self._env.items()]
        return {**self._config, "Env": env} if env else dict(self._config)

    def _unpacked(self) -> Path | None:
        """All layers so far in one directory, which is kept from build to build."""
        if not self._layers:
            return None
        return self._tools.layers.flat([Layer(layer.descriptor.digest, layer.diff_id) for layer in self._layers])


def _command(instruction: Instruction) -> list[str]:
    array = instruction.array()
    return array if array is not None else ["/bin/sh", "-c", instruction.text]


def _declared(instruction: Instruction, variables: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What ARG declares: the value given from outside, else its default; without either it stays undefined."""
    declared: dict[str, str] = {}
    for word in instruction.words(variables):
        name, equals, default = word.partition("=")
        if name in given:
            declared[name] = given[name]
        elif equals:
            declared[name] = default
    return declared


def _platform_arguments() -> dict[str, str]:
    """The platform ARGs that BuildKit defines by itself."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    both = {"PLATFORM": f"linux/{architecture}", "OS": "linux", "ARCH": architecture}
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in both.items()}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
